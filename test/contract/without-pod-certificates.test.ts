import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { startSigner } from './signer-process.ts';
import {
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

const notServed = ['podcertificaterequests', 'clustertrustbundles']
  .map((resource) => `certificates.k8s.io/v1/${resource}=false`)
  .join(',');
const gates = 'PodCertificateRequest=false,ClusterTrustBundle=false,ClusterTrustBundleProjection=false';

/** An API server as it is before Pod Certificates, or with them switched off. */
describe('a cluster without Pod Certificates and ClusterTrustBundles', () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;
  let judges: Judges;

  before(async () => {
    judges = await openJudges();
    controlPlane = await startControlPlane({
      apiServerFlags: [`--runtime-config=${notServed}`, `--feature-gates=${gates}`],
    });
    installed = await installTokenEndpoint(controlPlane);
    endpoint = await startTokenSigner(installed, { flags: ['--x509-svid', 'true'] });
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  it('a cluster without Pod Certificates serves neither requests nor trust bundles', async () => {
    const { body } = await controlPlane.request('GET', '/apis/certificates.k8s.io/v1');
    const names = (body as { resources: { name: string }[] }).resources.map(({ name }) => name);
    assert.deepEqual(
      names.filter((name) => /podcert|trustbundle/.test(name)),
      [],
    );
  });

  it('a signer without Pod Certificates is ready for its other work, and reports what is not served', async () => {
    await endpoint.signer.ready();
    const { text } = await endpoint.signer.readiness();
    assert.match(text, /pod-certificate-api.*serves no PodCertificateRequests; the token endpoint alone/);
    assert.match(text, /trust-bundle.*serves no ClusterTrustBundles; the roots come from the token endpoint/);
  });

  it('a signer without Pod Certificates gives pods certificates and tokens that go-spiffe accepts', async () => {
    await endpoint.signer.ready();
    const pod = await createPod(controlPlane);
    const key = makeKey('ECDSA P-256');
    const answer = await endpoint.certify(
      await tokenFor(controlPlane, pod, { audiences: [x509Audience] }),
      stubRequest(key),
      { accept: 'application/json' },
    );
    assert.equal(answer.status, 200, answer.text);
    const verdict = await judges.x509Svid({
      chain: String(answer.json.certificate_chain),
      bundles: { 'example.org': String(answer.json.trust_bundle) },
      key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    });
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.facts.id, answer.json.spiffe_id);
    assert.equal((await endpoint.exchange(await tokenFor(controlPlane, pod))).status, 200);
  });

  it('a signer without Pod Certificates and token endpoint waits, because it has nothing to do', async () => {
    const alone = await startSigner({ kubeconfig: installed.kubeconfig, replica: 'signer-alone' });
    const text = await waitFor('its reason', async () => {
      const readiness = await alone.readiness();
      assert.equal(readiness.ok, false);
      return /serves no PodCertificateRequests: Kubernetes 1\.37 does/.test(readiness.text) && readiness.text;
    });
    assert.match(text, /trust-bundle/);
    await alone.child.stop();
  });
});
