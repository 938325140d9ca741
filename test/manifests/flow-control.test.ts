import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { Lease, Pod } from '../../signer/kube/types.ts';
import { createTestAuthority } from '../cluster/certificates.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';
import { aPool, installSigner, putPool } from '../contract/installation.ts';
import { type SignerProcess, startSigner } from '../contract/signer-process.ts';
import { answerTo, create, createPod, requestFor } from '../contract/workloads.ts';
import { asServiceAccount, type Speaker } from './speaker.ts';

const manifests = path.join(import.meta.dirname, '../../manifests');
const account = { namespace: 'kubespiffe', name: 'kubespiffe-signer' };
const lease = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases/kubespiffe-signer-signer-a';
const reviewMs = 2_000;
const floodSize = 300;

let folder: string;
let webhook: Server;
let controlPlane: ControlPlane;
let speaker: Speaker;
let signer: SignerProcess;
let pod: Pod;
let stopFlood = async () => {};

/** A webhook that the API server asks about every token that it does not know, and that takes long to answer. */
async function startSlowWebhook(): Promise<string> {
  const authority = await createTestAuthority('webhook');
  const { certificate, key } = await authority.issue({ commonName: 'webhook', names: ['127.0.0.1'] });
  webhook = createServer({ cert: certificate, key }, (request, response) => {
    request.resume();
    setTimeout(() => {
      response.setHeader('content-type', 'application/json');
      const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' };
      response.end(JSON.stringify({ ...review, status: { authenticated: false } }));
    }, reviewMs).unref();
  });
  webhook.listen(0, '127.0.0.1');
  await once(webhook, 'listening');
  const file = path.join(folder, 'webhook.kubeconfig');
  const server = `https://127.0.0.1:${(webhook.address() as AddressInfo).port}`;
  const ca = Buffer.from(authority.certificate).toString('base64');
  const config = {
    clusters: [{ name: 'webhook', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: 'api-server', user: {} }],
    contexts: [{ name: 'webhook', context: { cluster: 'webhook', user: 'api-server' } }],
    'current-context': 'webhook',
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

before(async () => {
  folder = await makeStateFolder();
  controlPlane = await startControlPlane({
    controllers: false,
    apiServerFlags: [
      // A tenth of the usual.
      ...['--max-requests-inflight=40', '--max-mutating-requests-inflight=20'],
      `--authentication-token-webhook-config-file=${await startSlowWebhook()}`,
      '--authentication-token-webhook-version=v1',
    ],
  });
  const kubeconfig = await installSigner(controlPlane);
  await controlPlane.kubectl(['apply', '-f', path.join(manifests, 'token-endpoint/rbac.yaml')]);
  await putPool(controlPlane, await aPool());
  await create(controlPlane, '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  pod = await createPod(controlPlane);
  speaker = await asServiceAccount(controlPlane, account);
  signer = await startSigner({ kubeconfig });
  await signer.ready();
});
afterEach(() => stopFlood());
after(async () => {
  await signer?.child.stop();
  await controlPlane?.stop();
  webhook?.closeAllConnections();
  webhook?.close();
  await removeStateFolder(folder);
});

const uidOf = async (flowSchema: string): Promise<string> => {
  const at = `/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/${flowSchema}`;
  return (await controlPlane.request('GET', at)).body.metadata.uid;
};

/** Waits until the API server queues the signer's Lease by this FlowSchema. */
async function queuedBy(flowSchema: string): Promise<void> {
  const uid = await uidOf(flowSchema);
  await waitFor(`queueing by ${flowSchema}`, async () => (await speaker('GET', lease)).flowSchema === uid);
}

/** Calls that wait in the queues of a priority level. */
async function inQueue(level: string): Promise<number> {
  const { body } = await controlPlane.request('GET', '/metrics');
  return String(body)
    .split('\n')
    .filter((line) => line.startsWith('apiserver_flowcontrol_current_inqueue_requests{'))
    .filter((line) => line.includes(`priority_level="${level}"`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Keeps many slow TokenReviews of the signer's ServiceAccount under way, as its token endpoint would. */
async function flood(): Promise<void> {
  let isOn = true;
  let count = 0;
  const running = Array.from({ length: floodSize }, async () => {
    while (isOn) {
      const token = `unknown-${count++}`;
      const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
      await speaker('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review);
    }
  });
  stopFlood = async () => {
    isOn = false;
    stopFlood = async () => {};
    await Promise.all(running);
  };
  await waitFor('TokenReviews in a queue', async () => (await inQueue('workload-low')) > 100);
}

async function renewedAt(): Promise<number> {
  return Date.parse(((await controlPlane.request('GET', lease)).body as Lease).spec?.renewTime ?? '');
}

test('with the FlowSchema, requests are answered and the Lease is renewed while TokenReviews wait in a queue', async () => {
  await queuedBy('kubespiffe-signer');
  await flood();
  const startedAt = performance.now();
  while (performance.now() - startedAt < 8_000) {
    const { conditions } = await answerTo(controlPlane, await requestFor(controlPlane, pod), 3_000);
    assert.equal(conditions?.[0]?.type, 'Issued');
    // A replica renews it every 3 s.
    assert.ok(Date.now() - (await renewedAt()) < 6_000);
  }
  assert.ok((await inQueue('workload-low')) > 100);
  assert.equal(await inQueue('kubespiffe-signer'), 0);
});
