import assert from 'node:assert/strict';
import { it } from 'node:test';
import { compilePool } from '../../signer/authority/pool.ts';
import { fingerprintsOf } from '../../signer/trust/fingerprints.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool } from '../contract/installation.ts';
import { nameEndpoint, refresh } from './federation/pair.ts';
import { bundlesIn, moreAnswers, peer, rootsFile } from './federation/peer.ts';
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

  it('a bundle is fetched again after the endpoint has moved to another address', async () => {
    const [east, west] = pair().sides;
    const service = { namespace: 'kubespiffe', name: 'kubespiffe-bundle-web' };
    await west.balance(service, west.addresses.moved);
    await nameEndpoint(east, west, west.addresses.moved);
    assert.equal((await refresh(east, west)).reason, 'BundleTaken');
  });

  it('a pod has the roots of all partners in one file, without those of its own trust domain', async () => {
    const [east, west] = pair().sides;
    const read = (file: string) => east.installation.node.readVolumeFile(peer, 'spiffe', file);
    const compiled = compilePool(await aPool({ trustDomain: 'third.example' }), 'third.example');
    assert.ok(compiled.ok);
    const bundle = String(spiffeBundleDocument(compiled.pool, 300)?.bytes);
    const path = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
    const { status } = await east.installation.controlPlane.request('POST', path, {
      ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain' },
      ...{ metadata: { name: 'third' }, spec: { trustDomain: 'third.example', bundle } },
    });
    assert.equal(status, 201);
    const third = compiled.pool.roots.map(({ sha256Hex }) => sha256Hex);
    const partners = await waitFor('the roots of the third trust domain', async () => {
      const found = fingerprintsOf(await read('partners.pem'));
      return third.every((root) => found.has(root)) && found;
    });
    assert.deepEqual(
      [...partners].sort(),
      [...fingerprintsOf(await read(rootsFile(east, west))), ...third].sort(),
    );
    for (const own of fingerprintsOf(await read('roots.pem'))) assert.ok(!partners.has(own));
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
