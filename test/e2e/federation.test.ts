import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { clusterChoices } from './clusters.ts';
import { type Pair, startPair, statusOnce, trust } from './federation/pair.ts';
import { moreAnswers, startPeer } from './federation/peer.ts';

/** Two clusters with a trust domain each. Their pods call each other all the time: each test goes on where the last one ended. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`federation of two clusters, Kubernetes ${choice.name}`, () => {
    let pair: Pair;

    before(async () => {
      pair = await startPair(choice);
      for (const [own, other] of pair.directions) await trust(own, other);
      for (const [own, other] of pair.directions) {
        await statusOnce(own, other, ({ conditions }) =>
          conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
        );
      }
      await Promise.all(pair.directions.map(([own, other]) => startPeer(own, other)));
    });
    after(() => pair?.stop());

    it('pods of both call each other over mTLS, by their files and by their Workload APIs', async () => {
      for (const [own, other] of pair.directions) {
        const report = await moreAnswers(own);
        for (const seen of [report.files, report.api]) {
          assert.deepEqual(seen.failed, []);
          assert.equal(seen.peerIssuer, `${other.trustDomain} first`);
        }
      }
    });
  });
}
