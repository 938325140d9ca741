import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openBundleSource } from '../../workload/bundle-source.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { connectJwtSource } from '../../workload/workload-api.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { clusterChoices } from './clusters.ts';
import { nameEndpoint, type Pair, refresh, startPair, trustEachOther } from './federation/pair.ts';
import { bundlesIn, idOf, moreAnswers, peer, socketOf, startPeer } from './federation/peer.ts';
import { activateNext, next, publishNext, retireFirst, rootsArrive } from './federation/rotation.ts';

/** Two clusters with a trust domain each. Their pods call each other all the time: each test goes on where the last one ended. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`federation of two clusters, Kubernetes ${choice.name}`, () => {
    let pair: Pair;
    let judges: Judges;

    before(async () => {
      judges = await openJudges();
      pair = await startPair(choice);
      await trustEachOther(pair);
      await Promise.all(pair.directions.map(([own, other]) => startPeer(own, other)));
    });
    after(() => pair?.stop());

    /** More calls of both workloads, none of which has failed so far. */
    async function allAnswer(answers = 10): Promise<void> {
      const reports = await Promise.all(pair.sides.map((side) => moreAnswers(side, { answers })));
      for (const report of reports) {
        for (const { failed } of [report.files, report.api]) assert.deepEqual(failed, []);
      }
    }

    it('pods of both call each other over mTLS, by their files and by their Workload APIs', async () => {
      await allAnswer();
      for (const [own, other] of pair.directions) {
        const { files, api } = await moreAnswers(own, { answers: 0 });
        assert.deepEqual([files.peerIssuer, api.peerIssuer], Array(2).fill(`${other.trustDomain} first`));
      }
    });

    it('go-spiffe calls the pod of the other cluster, with the files of a pod and from its Workload API', async () => {
      for (const [own, other] of pair.directions) {
        const { node } = own.installation;
        const read = (file: string) => node.readVolumeFile(peer, 'spiffe', file);
        const files = {
          credentials: await read('credentials.pem'),
          bundles: { [other.trustDomain]: await read('partner.pem') },
        };
        for (const [port, identity] of [
          [8443, files],
          [8444, await socketOf(own)],
        ] as const) {
          const address = `${other.addresses.peer}:${port}`;
          const verdict = await judges.mtlsPeer({
            own: identity,
            address,
            listens: false,
            network: node.pid,
          });
          assert.deepEqual([verdict.errors, verdict.facts.saw], [[], idOf(other.trustDomain)]);
        }
      }
    });

    it('a JWT-SVID of one cluster is accepted in the other one, by the bundle that its pods get there', async () => {
      for (const [own, other] of pair.directions) {
        const audience = idOf(other.trustDomain);
        const { token } = await connectJwtSource(await socketOf(own)).get(audience);
        const content = (await bundlesIn(other))[own.trustDomain] ?? '';
        const verdict = await judges.jwtSvid({
          ...{ token, audience },
          bundle: { trustDomain: own.trustDomain, content },
        });
        assert.deepEqual([verdict.errors, verdict.facts.id], [[], idOf(own.trustDomain)]);
        const folder = await mkdtemp(join(tmpdir(), 'bundle-'));
        await writeFile(join(folder, 'partner.json'), content);
        await using bundles = await openBundleSource(folder, { [own.trustDomain]: 'partner.json' });
        assert.equal(validateJwtSvid(token, audience, bundles).id.uri, idOf(own.trustDomain));
      }
    });

    it('no call fails while the CA of either cluster is replaced and its root goes', async () => {
      await Promise.all(
        pair.directions.map(async ([own, other]) => {
          await publishNext(own);
          await rootsArrive(own, other, 2);
          await activateNext(own);
          await own.installation.node.restartKubelet();
          await moreAnswers(other, {
            isRight: ({ files, api }) =>
              [files, api].every(({ peerIssuer }) => peerIssuer === `${own.trustDomain} ${next}`),
          });
          await retireFirst(own);
          await rootsArrive(own, other, 1);
        }),
      );
      await allAnswer(20);
    });

    it('bundles are fetched and calls answered while one packet of twenty is lost', async () => {
      await pair.link.lose(5);
      await allAnswer(20);
      for (const [own, other] of pair.directions) assert.equal(await refresh(own, other), 'BundleTaken');
      assert.ok((await pair.link.lost()) > 10);
      await pair.link.lose(0);
    });

    it('the bundle is fetched again after the endpoint has moved to another address', async () => {
      const [east, west] = pair.sides;
      const service = { namespace: 'kubespiffe', name: 'kubespiffe-bundle-web' };
      await west.balance(service, west.addresses.moved);
      await nameEndpoint(east, west, west.addresses.moved);
      assert.equal(await refresh(east, west), 'BundleTaken');
    });

    it('when one cluster ends the trust, its running pods refuse those of the other one', async () => {
      const [east, west] = pair.sides;
      await west.installation.controlPlane.kubectl(['delete', 'fedtd', east.name]);
      const report = await moreAnswers(west, {
        answers: 0,
        isRight: ({ files, api }) => files.failed.length > 0 && api.failed.length > 0,
      });
      for (const { failed } of [report.files, report.api]) {
        assert.match(failed[0] ?? '', /there is no bundle of east\.example/);
      }
      assert.ok(!(east.trustDomain in (await bundlesIn(west))));
    });
  });
}
