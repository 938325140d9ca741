import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openBundleSource } from '../../../workload/bundle-source.ts';
import { validateJwtSvid } from '../../../workload/jwt.ts';
import { connectBundleSource, connectJwtSource } from '../../../workload/workload-api.ts';
import { waitFor } from '../../cluster/process.ts';
import { type Judges, openJudges } from '../../judges/judges.ts';
import { clusterChoices } from '../clusters.ts';
import { caIds, isOneTrustDomain, type Pair, startPair, trustEachOther } from './pair.ts';
import { bundlesIn, idOf, moreAnswers, peer, rootsFile, socketOf, startPeer } from './peer.ts';
import { activateNext, publishNext, retireFirst, rootArrives } from './rotation.ts';

/**
 * Two clusters whose pods call each other all the time: each test goes on where the last one ended.
 *
 * @param more declares further tests. `allAnswer` waits for more calls, and that none has failed so far.
 */
export function describeFederation(
  what: string,
  { trustDomain }: { trustDomain?: string },
  more: (pair: () => Pair, allAnswer: (answers?: number) => Promise<void>) => void,
): void {
  const [choice] = clusterChoices();
  if (!choice) return;
  describe(`${what}, Kubernetes ${choice.name}`, () => {
    let pair: Pair;
    let judges: Judges;

    before(async () => {
      judges = await openJudges();
      pair = await startPair(choice, trustDomain === undefined ? {} : { trustDomain });
      await trustEachOther(pair);
      await Promise.all(pair.directions.map(([own, other]) => startPeer(own, other)));
    });
    after(() => pair?.stop());

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
        const issuer = `${other.trustDomain} ${caIds(other.name).first}`;
        assert.deepEqual([files.peerIssuer, api.peerIssuer], [issuer, issuer]);
      }
    });

    it('go-spiffe calls the pod of the other cluster, with the files of a pod and from its Workload API', async () => {
      for (const [own, other] of pair.directions) {
        const { node } = own.installation;
        const read = (file: string) => node.readVolumeFile(peer, 'spiffe', file);
        const files = {
          credentials: await read('credentials.pem'),
          bundles: { [other.trustDomain]: await read(rootsFile(own, other)) },
        };
        for (const [port, identity] of [
          [8443, files],
          [8444, await socketOf(own)],
        ] as const) {
          const address = `${other.addresses.peer}:${port}`;
          const verdict = await judges.mtlsPeer({
            ...{ own: identity, address, listens: false },
            network: node.pid,
          });
          assert.deepEqual([verdict.errors, verdict.facts.saw], [[], idOf(other.trustDomain)]);
        }
      }
    });

    it('our library and go-spiffe accept a JWT-SVID of the other cluster, by a file and by the Workload API', async () => {
      for (const [own, other] of pair.directions) {
        const audience = idOf(other.trustDomain);
        const { token } = await connectJwtSource(await socketOf(own)).get(audience);
        const content = (await bundlesIn(other))[own.trustDomain] ?? '';
        const address = await socketOf(other);
        const folder = await mkdtemp(join(tmpdir(), 'bundle-'));
        await writeFile(join(folder, 'other.json'), content);
        await using fromFile = await openBundleSource(folder, { [own.trustDomain]: 'other.json' });
        await using fromApi = await connectBundleSource(address);
        assert.equal(validateJwtSvid(token, audience, fromFile).id.uri, idOf(own.trustDomain));
        await waitFor('the keys of the other cluster at the Workload API', () => {
          return validateJwtSvid(token, audience, fromApi).id.uri === idOf(own.trustDomain);
        });
        for (const bundle of [{ trustDomain: own.trustDomain, content }, address]) {
          const { errors, facts } = await judges.jwtSvid({ token, audience, bundle });
          assert.deepEqual([errors, facts.id], [[], idOf(own.trustDomain)]);
        }
      }
    });

    it('no call fails while the CA of either cluster is replaced and its root goes', async () => {
      await Promise.all(
        pair.directions.map(async ([own, other]) => {
          const { first, next } = caIds(own.name);
          await publishNext(own);
          // East fetches the bundle of west when it is due, as every cluster does by itself.
          await rootArrives(own, other, next, {
            isAsked: isOneTrustDomain(own, other) || own.name === 'east',
          });
          await activateNext(own);
          await own.installation.node.restartKubelet();
          await moreAnswers(other, {
            isRight: ({ files, api }) =>
              [files, api].every(({ peerIssuer }) => peerIssuer === `${own.trustDomain} ${next}`),
          });
          await retireFirst(own);
          await rootArrives(own, other, first, { isThere: false });
        }),
      );
      await allAnswer(20);
    });

    more(() => pair, allAnswer);
  });
}
