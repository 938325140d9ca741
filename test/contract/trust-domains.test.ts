import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { trustDomainLabel } from '../../signer/trust/labels.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

describe('trust domains that no label can hold', () => {
  const trustDomains: [name: string, trustDomain: string][] = [
    ['a hyphen at either end', '-cluster_1.example-'],
    ['255 characters', `${'t'.repeat(127)}.${'d'.repeat(127)}`],
  ];
  for (const [name, trustDomain] of trustDomains) {
    it(`the signer and its readers work with ${name}`, async (t) => {
      const controlPlane = await startControlPlane();
      t.after(() => controlPlane.stop());
      const kubeconfig = await installSigner(controlPlane);
      await putPool(controlPlane, await aPool({ trustDomain }));
      const signer = await startSigner({ kubeconfig, trustDomain });
      t.after(() => signer.child.stop());
      await signer.ready();

      const status = await answerTo(
        controlPlane,
        await requestFor(controlPlane, await createPod(controlPlane)),
      );
      const leaf = new X509Certificate(status.certificateChain ?? '');
      assert.equal(leaf.subjectAltName, `URI:spiffe://${trustDomain}/ns/default/sa/default`);
      const selected = await controlPlane.kubectl([
        'get',
        'clustertrustbundles',
        '--selector',
        `k8s.spiffe.io/peer-trust-domain=${trustDomainLabel(trustDomain)}`,
        '--output=name',
      ]);
      assert.match(selected, /kubespiffe\.io:spiffe:roots/);
    });
  }
});
