import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor, requestOfOldKubelet } from './workloads.ts';

const v1 = /^\/apis\/certificates\.k8s\.io\/v1(\/|\?|$)/;
const v1beta1 = /^\/apis\/certificates\.k8s\.io\/v1beta1(\/|\?|$)/;

describe('versions of certificates.k8s.io', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let signer: SignerProcess;

  /** An API server that does not serve a version answers a plain 404 to everything in it. */
  const withdraw = (path: RegExp) => proxy.add({ path, fault: { kind: 'answer', status: 404 } });

  before(async () => {
    controlPlane = await startControlPlane({ betaApis: true });
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    const kubeconfig = await installSigner(controlPlane, { server: proxy.url, authority: proxy.authority });
    await putPool(controlPlane, await aPool());
    withdraw(v1);
    signer = await startSigner({ kubeconfig });
  });
  after(async () => {
    await proxy?.stop();
    await controlPlane?.stop();
  });

  async function isIssued(request: PodCertificateRequest): Promise<void> {
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
  }

  it('a signer works with an API server that serves only v1beta1', async () => {
    await signer.ready();
    assert.match((await signer.readiness()).text, /certificates\.k8s\.io\/v1beta1/);
    await isIssued(await requestFor(controlPlane, await createPod(controlPlane)));
    assert.ok(proxy.count({ method: 'PATCH', path: v1beta1 }) > 0);
  });

  it('a signer works through v1 after an upgrade that removes v1beta1, without a restart', async () => {
    proxy.clear();
    withdraw(v1beta1);
    proxy.resetConnections();
    await waitFor('v1 to be found', async () =>
      /certificates\.k8s\.io\/v1$/m.test((await signer.readiness()).text),
    );
    proxy.forget();
    await isIssued(await requestFor(controlPlane, await createPod(controlPlane)));
    assert.ok(proxy.count({ method: 'PATCH', path: v1 }) > 0);
  });

  it('a signer reports what is missing if the request of an old kubelet has no key and v1beta1 is not served', async () => {
    const request = await requestOfOldKubelet(controlPlane, await createPod(controlPlane));
    const key = `default/${request.metadata.name}`;
    await waitFor('the decision', () =>
      signer.lines().some((line) => line.request === key && line.reason === 'KeyNotVisible'),
    );
  });

  it('a signer reads the request of a 1.35 kubelet through v1beta1 if both versions are served', async () => {
    proxy.clear();
    const again = await startSigner({
      kubeconfig: await controlPlane.kubeconfigFor({ namespace: 'kubespiffe', name: 'kubespiffe-signer' }),
      replica: 'signer-b',
    });
    await again.ready();
    const request = await requestOfOldKubelet(controlPlane, await createPod(controlPlane));
    const status = await answerTo(controlPlane, request);
    assert.equal(status.conditions?.[0]?.type, 'Issued');
    const leaf = new X509Certificate(status.certificateChain ?? '');
    assert.equal(
      leaf.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
      request.spec.pkixPublicKey,
    );
    await again.child.stop();
  });

  it('a signer answers behind two API servers, one with v1 and one with v1beta1, by either of them', async () => {
    for (const withdrawn of [v1, v1beta1, v1, v1beta1]) {
      proxy.clear();
      withdraw(withdrawn);
      proxy.resetConnections();
      const requests = [];
      for (let made = 0; made < 3; made++) {
        requests.push(await requestFor(controlPlane, await createPod(controlPlane)));
      }
      for (const request of requests) await isIssued(request);
    }
    proxy.clear();
  });

  it('a signer is not ready while PodCertificateRequests are disabled, and issues once they are back', async () => {
    await controlPlane.killApiServer();
    await controlPlane.startApiServer({
      betaApis: false,
      apiServerFlags: [
        '--runtime-config=certificates.k8s.io/v1/podcertificaterequests=false',
        '--feature-gates=PodCertificateRequest=false',
      ],
    });
    await waitFor('readiness to say so', async () => {
      const { ok, text } = await signer.readiness();
      return !ok && /\[-\]pod-certificate-api .*serves no PodCertificateRequests/.test(text);
    });
    await controlPlane.killApiServer();
    await controlPlane.startApiServer();
    await isIssued(await requestFor(controlPlane, await createPod(controlPlane)));
    await signer.ready();
  });
});
