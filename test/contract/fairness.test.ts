import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:https';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../signer/kube/types.ts';
import { openApi } from '../bench/api-client.ts';
import { makePlace } from '../bench/cluster.ts';
import { createGenerator, inParallel, type LoadGenerator } from '../bench/generator.ts';
import { createTestAuthority } from '../cluster/certificates.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { policyInForce } from './admission-policy.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const webhooks = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations';
const backlog = 3_000;
/** So many that none has more than the 64 open requests that a pod may have. */
const busyPods = 60;

/** Two namespaces: `busy` has many requests, or a webhook that never answers; `quiet` has one request now and then. */
describe('a namespace beside one that keeps the signer busy', () => {
  let controlPlane: ControlPlane;
  let kubeconfig: string;
  let generator: LoadGenerator;
  let closeApi: () => void;
  let quietPod: Pod;
  let signer: SignerProcess | undefined;

  before(async () => {
    controlPlane = await startControlPlane({ controllers: false });
    kubeconfig = await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
    const api = await openApi(controlPlane.kubeconfig);
    closeApi = api.close;
    generator = createGenerator(api, await makePlace(controlPlane, 'busy'));
    await generator.createPods(busyPods, 8);
    await makePlace(controlPlane, 'quiet');
    quietPod = await createPod(controlPlane, { namespace: 'quiet' });
    await policyInForce(controlPlane);
  });
  after(async () => {
    await signer?.child.stop();
    closeApi?.();
    await controlPlane?.stop();
  });

  const answersOf = (process: SignerProcess, namespace: string) =>
    process
      .lines()
      .filter(({ audit, reason, request }) => !audit && reason === 'Issued' && isOf(request, namespace));
  const isOf = (request: unknown, namespace: string) => String(request).startsWith(`${namespace}/`);

  /** One request of the quiet namespace. @returns how long the signer needed for it, in milliseconds. */
  async function quietRequest(process: SignerProcess): Promise<number> {
    const request = await requestFor(controlPlane, quietPod);
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    const key = `quiet/${request.metadata.name}`;
    const line = await waitFor('the log line', () =>
      answersOf(process, 'quiet').find(({ request }) => request === key),
    );
    return Number(line.durationMs);
  }

  async function quietRequests(process: SignerProcess, count: number): Promise<number[]> {
    const took: number[] = [];
    while (took.length < count) took.push(await quietRequest(process));
    return took.sort((one, other) => one - other);
  }

  it('the request of one namespace is answered soon, although another one has thousands of earlier requests', async (t) => {
    const requests = generator.prepare(backlog);
    await inParallel(requests, 32, (request) => generator.create(request));
    const process = await startSigner({ kubeconfig });
    signer = process;
    await waitFor('the first answers', () => answersOf(process, 'busy').length >= 200);
    const took: number[] = [];
    for (let round = 0; round < 3; round += 1) took.push(await quietRequest(process));
    const busy = answersOf(process, 'busy').map(({ time }) => Date.parse(String(time)));
    assert.ok(busy.length < backlog, 'the signer was busy all the time');
    const answeredBefore = answersOf(process, 'quiet').map(({ time, durationMs }) => {
      const answeredAt = Date.parse(String(time));
      return busy.filter((at) => at <= answeredAt && at >= answeredAt - Number(durationMs)).length;
    });
    // Those being written when it came: 24 before the first one, as the other namespace was alone until then. Without a limit
    // that follows the API server it was 31 to 46 each time.
    for (const [index, count] of answeredBefore.entries()) {
      assert.ok(count < (index === 0 ? 40 : 30), `${answeredBefore} others came before`);
    }
    await waitFor('all answers', () => answersOf(process, 'busy').length === backlog, {
      timeoutMs: 120_000,
    });
    const quiet = await quietRequests(process, 5);
    t.diagnostic(`busy: ${took} ms, after ${answeredBefore} others; quiet: ${quiet} ms`);
    await process.child.stop();
  });

  it('the request of one namespace is answered although a webhook never answers for another one', async (t) => {
    const process = await startSigner({ kubeconfig });
    signer = process;
    await process.ready();
    const { hook, held, caBundle, release } = await startHangingWebhook();
    const name = 'hangs.example.org';
    const clientConfig = { url: `https://127.0.0.1:${addressOf(hook)}/`, caBundle };
    const resource = { apiGroups: ['certificates.k8s.io'], apiVersions: ['*'], operations: ['UPDATE'] };
    await create(controlPlane, webhooks, {
      metadata: { name },
      webhooks: [
        {
          name,
          clientConfig,
          rules: [{ ...resource, resources: ['podcertificaterequests/status'] }],
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'busy' } },
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
          timeoutSeconds: 30,
        },
      ],
    });
    // The API server learns of webhooks a moment later.
    await waitFor('a write that hangs', async () => {
      const [request] = generator.prepare(1);
      if (request) await generator.create(request);
      return held() > 0;
    });
    await inParallel(generator.prepare(300), 16, (request) => generator.create(request));
    await waitFor('the other namespace to have its share of the workers', () => held() >= 4);
    const took = await quietRequests(process, 10);
    t.diagnostic(`${took} ms beside ${held()} writes that hang`);
    // A replica begins with 24 writes of a namespace at once, of 64 workers.
    assert.ok(held() <= 32, `${held()} writes hang`);
    assert.ok((took[5] ?? Number.NaN) < 2_000, `${took} ms`);
    await controlPlane.request('DELETE', `${webhooks}/${name}`);
    await release();
  });
});

const addressOf = (server: Server) => (server.address() as { port: number }).port;

/** An admission webhook that takes every call and answers none. */
async function startHangingWebhook() {
  const authority = await createTestAuthority('webhook-ca');
  const { certificate, key } = await authority.issue({ commonName: 'webhook', names: ['127.0.0.1'] });
  let held = 0;
  const hook = createServer({ cert: certificate, key }, (request) => {
    held += 1;
    request.socket.once('close', () => {
      held -= 1;
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  return {
    hook,
    held: () => held,
    caBundle: Buffer.from(authority.certificate).toString('base64'),
    release: () =>
      new Promise<void>((resolve) => {
        hook.close(() => resolve());
        hook.closeAllConnections();
      }),
  };
}
