import assert from 'node:assert/strict';
import { Agent } from 'node:https';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aCertificate } from '../token/caller/client-certificates.ts';
import {
  type Answer,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

/** How long kube-apiserver remembers that a token was good: fixed there. */
const apiServerMemoryMs = 10_000;
/** What the API server's own watch of pods may be behind, on a machine that does other things beside. */
const lagMs = 3_000;

/** An answer to one more use of a token. Times are milliseconds since the pod was gone. */
interface Use {
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly status: number;
  readonly reason: unknown;
}

/** The second row of "How long a deleted pod can go on" in docs/security/token-endpoint.md, measured. */
describe('a pod that is deleted while the watch of the pods hangs', { concurrency: true }, () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;

  before(async () => {
    controlPlane = await startControlPlane();
    installed = await installTokenEndpoint(controlPlane);
  });
  after(() => controlPlane?.stop());

  /** A signer of its own, behind a proxy of its own. */
  async function startBehindProxy(
    replica: string,
    reviewCache: string,
    ...flags: string[]
  ): Promise<{ proxy: FaultProxy; endpoint: TokenSigner }> {
    const authority = controlPlane.authority.certificate;
    const proxy = await startFaultProxy({ url: controlPlane.url, authority });
    controlPlane.onStop(proxy.stop);
    const account = { namespace: 'kubespiffe', name: 'kubespiffe-signer' };
    const server = { server: proxy.url, authority: proxy.authority };
    const kubeconfig = await controlPlane.kubeconfigFor(account, server);
    const endpoint = await startTokenSigner(
      { ...installed, kubeconfig },
      { replica, flags: ['--token-review-cache', reviewCache, '--token-pod-rate', '10000', ...flags] },
    );
    controlPlane.onStop(async () => endpoint.agent.destroy());
    await endpoint.signer.ready();
    return { proxy, endpoint };
  }

  /** A pod that the signer's watch has shown: asked for a token of it, the signer does not look it up. */
  async function aKnownPod(proxy: FaultProxy, endpoint: TokenSigner): Promise<Pod> {
    const pod = await createPod(controlPlane);
    await waitFor('the watch to show the pod', async () => {
      proxy.forget();
      const { status } = await endpoint.exchange(await tokenFor(controlPlane, pod));
      return status === 200 && proxy.count({ path: `/pods/${pod.metadata.name}` }) === 0;
    });
    return pod;
  }

  async function deleteAtOnce({ metadata }: Pod): Promise<void> {
    const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
    await controlPlane.request('DELETE', `${path}?gracePeriodSeconds=0`);
    assert.equal((await controlPlane.request('GET', path)).status, 404);
  }

  /** Uses a credential again and again until it is refused. */
  async function useUntilRefused(use: () => Promise<Answer>): Promise<Use[]> {
    const goneAt = performance.now();
    const uses: Use[] = [];
    await waitFor(
      'the refusal',
      async () => {
        const askedMs = performance.now() - goneAt;
        const { status, json } = await use();
        uses.push({ askedMs, answeredMs: performance.now() - goneAt, status, reason: json.reason });
        return status !== 200;
      },
      { everyMs: 100 },
    );
    return uses;
  }

  const rows = [
    { replica: 'signer-a', reviewCache: '3s', memoryMs: 3_000 },
    { replica: 'signer-b', reviewCache: '0s', memoryMs: 0 },
  ];
  for (const { replica, reviewCache, memoryMs } of rows) {
    const bound = `${memoryMs / 1000} s + 10 s + lag`;
    it(`the token of a deleted pod is refused by the review within ${bound} if a review counts for ${reviewCache}`, async (t) => {
      const { proxy, endpoint } = await startBehindProxy(replica, reviewCache);
      const reviews = (result: string) =>
        endpoint.signer.metric('kubespiffe_token_reviews_total', { result });
      const pod = await aKnownPod(proxy, endpoint);
      const watches = proxy.watches({ path: '/api/v1/pods' });
      assert.equal(watches.length, 1);
      for (const watch of watches) watch.silence();

      const token = await tokenFor(controlPlane, pod);
      assert.equal((await endpoint.exchange(token)).status, 200);
      await deleteAtOnce(pod);
      const [cached, good] = [await reviews('cached'), await reviews('good')];
      const uses = await useUntilRefused(() => endpoint.exchange(token));
      const [refused, lastGood] = uses.toReversed();
      assert.ok(refused && lastGood, 'the token was refused at once, so the watch did not hang');
      t.diagnostic(`refused ${Math.round(refused.askedMs)} ms after the pod was gone; the bound is ${bound}`);

      assert.deepEqual([refused.status, refused.reason], [400, 'TokenRefused']);
      assert.equal(await reviews('refused'), 1);
      assert.equal(proxy.count({ path: `/pods/${pod.metadata.name}` }), 0);
      assert.ok(lastGood.askedMs <= memoryMs + apiServerMemoryMs + lagMs, `${lastGood.askedMs} ms`);
      // Both memories had a part in it: ours, where there is one, and the API server's, longer than ours.
      assert.equal((await reviews('cached')) > cached, memoryMs > 0);
      assert.ok((await reviews('good')) > good);
      assert.ok(lastGood.askedMs > memoryMs);
      assert.equal((await endpoint.exchange(token)).json.reason, 'TokenRefused');
    });
  }

  it('the certificate of a deleted pod is refused within 3 s + lag if a live look counts for 3 s', async (t) => {
    const switchedOn = ['--leaf-pod-identity', 'true', '--token-client-certificates', 'true'];
    const { proxy, endpoint } = await startBehindProxy('signer-c', '3s', ...switchedOn);
    const pod = await aKnownPod(proxy, endpoint);
    const { namespace = '', name, uid = '' } = pod.metadata;
    const credentials = await aCertificate(
      {
        authorities: installed.pool.authorities,
        namespace,
        serviceAccount: { name: 'default', uid: 'service-account-uid' },
        pod: { name, uid },
        now: Math.floor(Date.now() / 1000),
      },
      {},
      '1',
    );
    const ca = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    const agent = new Agent({ ca, servername: 'localhost', keepAlive: true, ...credentials });
    controlPlane.onStop(async () => agent.destroy());
    const mint = () =>
      endpoint.call(
        {
          method: 'POST',
          path: '/jwt-svid',
          headers: { 'content-type': 'application/json' },
          body: '{"audience":"https://api.example.com"}',
        },
        agent,
      );
    for (const watch of proxy.watches({ path: '/api/v1/pods' })) watch.silence();

    proxy.forget();
    const looks = () => proxy.count({ path: `/pods/${name}` });
    assert.equal((await mint()).status, 200);
    assert.equal(looks(), 1);
    assert.equal((await mint()).status, 200);
    assert.equal(looks(), 1, 'the live look counts for 3 s');
    await deleteAtOnce(pod);
    const [refused, lastGood] = (await useUntilRefused(mint)).toReversed();
    assert.ok(refused && lastGood, 'the certificate was refused at once, so the watch did not hang');
    t.diagnostic(`refused ${Math.round(refused.askedMs)} ms after the pod was gone; the bound is 3 s + lag`);
    assert.deepEqual([refused.status, refused.reason], [400, 'PodGone']);
    assert.ok(lastGood.askedMs <= 3_000 + lagMs, `${lastGood.askedMs} ms`);
  });
});
