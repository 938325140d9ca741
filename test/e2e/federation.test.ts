import assert from 'node:assert/strict';
import { it } from 'node:test';
import { nameEndpoint, refresh } from './federation/pair.ts';
import { bundlesIn, moreAnswers } from './federation/peer.ts';
import { describeFederation } from './federation/tests.ts';

describeFederation('two clusters with a trust domain each', {}, (pair, allAnswer) => {
  it('bundles are fetched and calls answered while one packet of twenty is lost', async () => {
    const { link, directions } = pair();
    await link.lose(5);
    await allAnswer(20);
    for (const [own, other] of directions) assert.equal((await refresh(own, other)).reason, 'BundleTaken');
    assert.ok((await link.lost()) > 10);
    await link.lose(0);
  });

  it('the bundle is fetched again after the endpoint has moved to another address', async () => {
    const [east, west] = pair().sides;
    const service = { namespace: 'kubespiffe', name: 'kubespiffe-bundle-web' };
    await west.balance(service, west.addresses.moved);
    await nameEndpoint(east, west, west.addresses.moved);
    assert.equal((await refresh(east, west)).reason, 'BundleTaken');
  });

  it('when one cluster ends the trust, its running pods refuse those of the other one', async () => {
    const [east, west] = pair().sides;
    await west.installation.controlPlane.kubectl(['delete', 'fedtd', east.name]);
    const { files } = await moreAnswers(west, {
      answers: 0,
      isRight: (report) => report.files.failed.length > 0,
    });
    assert.match(files.failed[0] ?? '', /there is no bundle of east\.example/);
    assert.ok(!(east.trustDomain in (await bundlesIn(west))));
  });
});
