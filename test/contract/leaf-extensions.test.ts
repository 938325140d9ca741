import 'reflect-metadata';
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { GeneralNames } from '@peculiar/x509';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { findExtension } from '../../spiffe/pki/extensions.ts';
import { readPodIdentity } from '../../spiffe/pki/leaf-extensions.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

function issuerOf({ extensions }: CertificateFacts): string[] | undefined {
  const found = findExtension(extensions, 'issuerAltName');
  return found && new GeneralNames(found.value).items.map(({ value }) => value);
}

describe('leaves with the optional extensions', () => {
  let controlPlane: ControlPlane;
  let kubeconfig = '';

  before(async () => {
    controlPlane = await startControlPlane();
    kubeconfig = await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
  });
  after(() => controlPlane?.stop());

  /** The leaf that a signer with these flags issues for a pod, as the API server has stored it. */
  async function issuedWith(flags: readonly string[]) {
    const signer = await startSigner({ kubeconfig, flags });
    await signer.ready();
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const { certificateChain = '', conditions } = await answerTo(controlPlane, request);
    await signer.child.stop();
    assert.equal(conditions?.[0]?.type, 'Issued');
    const facts = readCertificate(new X509Certificate(certificateChain).raw);
    assert.ok(facts.ok);
    return { spec: request.spec, facts: facts.value };
  }

  it('name the pod as the request does, and the issuer, and nobody else', async () => {
    const { spec, facts } = await issuedWith([
      ...['--leaf-pod-identity', 'true', '--leaf-issuer', 'true'],
      ...['--jwt-issuer', 'https://id.example.org'],
    ]);
    assert.deepEqual(readPodIdentity(facts.extensions), {
      ok: true,
      value: {
        namespace: 'default',
        namespaceUID: '',
        serviceAccountName: spec.serviceAccountName,
        serviceAccountUID: spec.serviceAccountUID,
        podName: spec.podName,
        podUID: spec.podUID,
        nodeName: spec.nodeName,
        nodeUID: spec.nodeUID,
      },
    });
    assert.deepEqual(issuerOf(facts), ['https://id.example.org']);
    assert.deepEqual(facts.uris, ['spiffe://example.org/ns/default/sa/default']);
  });

  it('carry neither unless they are told to', async () => {
    const { facts } = await issuedWith(['--jwt-issuer', 'https://id.example.org']);
    assert.equal(readPodIdentity(facts.extensions), undefined);
    assert.equal(issuerOf(facts), undefined);
    assert.equal(facts.extensions.length, 6);
  });
});
