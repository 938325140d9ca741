import assert from 'node:assert/strict';
import { it } from 'node:test';
import { caIds, nameEndpoint, refresh } from './federation/pair.ts';
import { bundlesIn } from './federation/peer.ts';
import { rootArrives } from './federation/rotation.ts';
import { describeFederation } from './federation/tests.ts';

describeFederation(
  'two clusters with one trust domain',
  { trustDomain: 'example.org' },
  (pair, allAnswer) => {
    it('both clusters serve the same authorities as the bundle of the trust domain', async () => {
      const [east, west] = await Promise.all(
        pair().sides.map(async (side) => {
          const { keys } = JSON.parse((await bundlesIn(side))[side.trustDomain] ?? '') as {
            keys: { use: string; x?: string; n?: string }[];
          };
          return keys.map(({ use, x, n }) => `${use} ${x ?? n}`).toSorted();
        }),
      );
      assert.deepEqual(east, west);
      assert.equal(east?.filter((key) => key.startsWith('x509-svid')).length, 2);
    });

    it('the roots of a cluster that cannot be reached stay, and calls succeed', async () => {
      const [east, west] = pair().sides;
      // Nothing listens there.
      await nameEndpoint(east, west, east.installation.node.address);
      assert.equal((await refresh(east, west)).reason, 'BundleHeld');
      await rootArrives(west, east, caIds(west.name).next);
      await allAnswer();
    });
  },
);
