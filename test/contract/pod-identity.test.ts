import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { GeneralNames } from '@peculiar/x509';
import type { ClusterTrustBundle, PodCertificateRequest } from '../../signer/kube/types.ts';
import { podIdentity } from '../../signer/signers/pod-identity.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { findExtension } from '../../spiffe/pki/extensions.ts';
import { type PodIdentity, readPodIdentity } from '../../spiffe/pki/leaf-extensions.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

function issuerOf({ extensions }: CertificateFacts): string[] | undefined {
  const found = findExtension(extensions, 'issuerAltName');
  return found && new GeneralNames(found.value).items.map(({ value }) => value);
}

/** What the extension says for a request. */
const podIn = (spec: PodCertificateRequest['spec']): Required<PodIdentity> => ({
  namespace: 'default',
  namespaceUID: '',
  serviceAccountName: spec.serviceAccountName,
  serviceAccountUID: spec.serviceAccountUID,
  podName: spec.podName,
  podUID: spec.podUID,
  nodeName: spec.nodeName,
  nodeUID: spec.nodeUID,
});

/** @throws Error when it does not accept the chain. */
function verifyWithOpenssl(chain: string, root: string, purpose: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-pod-identity-'));
  try {
    writeFileSync(join(folder, 'root.pem'), root);
    writeFileSync(join(folder, 'leaf.pem'), chain);
    const words = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'root.pem', 'leaf.pem'];
    assert.equal(
      execFileSync('openssl', words, { cwd: folder, encoding: 'utf8', stdio: 'pipe' }),
      'leaf.pem: OK\n',
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('PodIdentity and the signer pod-identity', () => {
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

  it('certificates of spiffe name the pod as the request does, and the issuer, if they are set to', async () => {
    const { spec, facts } = await issuedWith([
      ...['--leaf-pod-identity', 'true', '--leaf-issuer', 'true'],
      ...['--jwt-issuer', 'https://id.example.org'],
    ]);
    assert.deepEqual(readPodIdentity(facts.extensions), { ok: true, value: podIn(spec) });
    assert.deepEqual(issuerOf(facts), ['https://id.example.org']);
    assert.deepEqual(facts.uris, ['spiffe://example.org/ns/default/sa/default']);
  });

  it('certificates of spiffe have neither extension by default', async () => {
    const { facts } = await issuedWith(['--jwt-issuer', 'https://id.example.org']);
    assert.equal(readPodIdentity(facts.extensions), undefined);
    assert.equal(issuerOf(facts), undefined);
    assert.equal(facts.extensions.length, 6);
  });

  describe('two signers on one pool', () => {
    let signer: SignerProcess;

    before(async () => {
      signer = await startSigner({ kubeconfig });
      await signer.ready();
    });
    after(() => signer?.child.stop());

    const bundleOf = async (name: string) => {
      const path = `/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:${name}:roots`;
      return (await controlPlane.request('GET', path)).body as ClusterTrustBundle;
    };

    it('pod-identity names the single pod, for clients and servers, in a certificate that OpenSSL accepts', async () => {
      const pod = await createPod(controlPlane, { name: 'db-0.member' });
      const request = await requestFor(controlPlane, pod, { signerName: podIdentity.signerName });
      const { certificateChain = '', conditions } = await answerTo(controlPlane, request);
      assert.equal(conditions?.[0]?.type, 'Issued');
      const leaf = new X509Certificate(certificateChain);
      assert.equal(leaf.subjectAltName, 'URI:spiffe://example.org/ns/default/pod/db-0.member');
      assert.deepEqual(leaf.keyUsage?.toSorted(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
      const facts = readCertificate(leaf.raw);
      assert.ok(facts.ok);
      assert.deepEqual(readPodIdentity(facts.value.extensions), { ok: true, value: podIn(request.spec) });
      const root = (await bundleOf('pod-identity')).spec.trustBundle;
      for (const purpose of ['sslserver', 'sslclient']) verifyWithOpenssl(certificateChain, root, purpose);
    });

    it('both signers publish the same roots, each under its own name', async () => {
      const [own, other] = [await bundleOf('pod-identity'), await bundleOf('spiffe')];
      assert.equal(own.spec.signerName, podIdentity.signerName);
      assert.equal(own.spec.trustBundle, other.spec.trustBundle);
      assert.deepEqual(own.metadata.labels, other.metadata.labels);
    });

    it('both signers share one watch of the pool', async () => {
      const metrics = await controlPlane.kubectl(['get', '--raw', '/metrics']);
      const watches = metrics
        .split('\n')
        .filter((line) =>
          /^apiserver_longrunning_requests\{.*resource="secrets",scope="resource",.*verb="WATCH"/.test(line),
        );
      assert.equal(watches.length, 1, watches.join('\n'));
      assert.match(watches[0] ?? '', / 1$/);
    });

    it('both signers have separate checks of readiness and separate metrics', async () => {
      const { text } = await signer.readiness();
      for (const check of ['spiffe/pool', 'pod-identity/pool', 'pod-identity/trust-bundle']) {
        assert.ok(text.includes(`[+]${check} `), text);
      }
      const issued = { signer: podIdentity.signerName, reason: 'Issued' };
      assert.equal(await signer.metric('kubespiffe_issuance_total', issued), 1);
      const canSign = { kind: 'x509', signer: podIdentity.signerName };
      assert.equal(await signer.metric('kubespiffe_can_sign', canSign), 1);
      const lines = signer.lines().filter((line) => line.audit === true);
      assert.deepEqual(
        lines.map((line) => [line.signer, line.spiffeId]),
        [[podIdentity.signerName, 'spiffe://example.org/ns/default/pod/db-0.member']],
      );
    });

    it('pod-identity denies a request that wants to choose its name', async () => {
      const unverifiedUserAnnotations = { 'kubespiffe.io/registration': 'other' };
      const different = { signerName: podIdentity.signerName, unverifiedUserAnnotations };
      const request = await requestFor(controlPlane, await createPod(controlPlane), different);
      const { conditions } = await answerTo(controlPlane, request);
      assert.equal(conditions?.[0]?.type, 'Denied');
    });
  });
});
