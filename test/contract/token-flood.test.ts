import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { factsOf, installTokenEndpoint, startTokenSigner, type TokenSigner } from './token-endpoint.ts';
import { floodTokens } from './token-flood.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

/** Each review of a token is held up on its way to the API server. */
describe('a flood of 1,000 requests for tokens', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;

  before(async () => {
    controlPlane = await startControlPlane({ tokenAlgorithm: 'RS256' });
    proxy = await startFaultProxy({
      url: controlPlane.url,
      authority: controlPlane.authority.certificate,
    });
    installed = await installTokenEndpoint(controlPlane, { server: proxy.url, authority: proxy.authority });
    endpoint = await startTokenSigner(installed, {
      flags: ['--token-pod-rate', '10000', '--token-address-rate', '10000'],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await proxy?.stop();
    await controlPlane?.stop();
  });

  const reviews = { method: 'POST', path: /tokenreviews/ };
  /** How long a new request waits for its answer, in milliseconds. */
  async function answerMs(timeoutMs?: number): Promise<number> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const createdAt = performance.now();
    const { conditions } = await answerTo(controlPlane, request, timeoutMs);
    assert.equal(conditions?.[0]?.type, 'Issued');
    return performance.now() - createdAt;
  }
  const wasAsked = (path: string) => proxy.requests.filter((request) => request.path.includes(path));

  for (const ms of [300, 4_000]) {
    it(`certificates, Leases and the pool do not wait, at ${ms} ms a review, in a flood of token requests`, {
      timeout: 240_000,
    }, async () => {
      /** How long an answer may take: without the flood, and many times that beside it. */
      const quietMs = await answerMs();
      const facts = await factsOf(controlPlane, await createPod(controlPlane));
      const ca = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
      const rule = proxy.add({ ...reviews, fault: { kind: 'delay', ms } });
      const flood = floodTokens({ port: endpoint.port, ca }, facts, 1_000);
      try {
        await waitFor('1,000 requests under way', () => flood.connected() >= 950, { timeoutMs: 120_000 });
        proxy.forget();
        for (const watch of proxy.watches({ path: '/secrets' })) watch.silence();
        const silencedAt = performance.now();
        // Longer than a view of the pool counts without a live read, and than a Lease without a renewal.
        while (performance.now() - silencedAt < 12_000) {
          await answerMs(2_500 + 20 * quietMs);
        }
        await waitFor('reviews to have gone on', () => proxy.count(reviews) >= 100, { timeoutMs: 60_000 });
        const renewedAt = wasAsked('/leases/')
          .filter(({ method, status }) => method === 'PATCH' && status === 200)
          .map(({ at }) => at);
        // The other replicas give one up after 10 s: a renewal that waited behind reviews would be later than that.
        const gaps = [silencedAt, ...renewedAt].map(
          (at, index) => (renewedAt[index] ?? performance.now()) - at,
        );
        assert.ok(Math.max(...gaps) < 10_000, `no renewal of the Lease for ${Math.max(...gaps)} ms`);
        assert.ok(
          wasAsked('/secrets').some(({ status }) => status === 200),
          'the pool was not read',
        );
        await waitFor('the signer to be ready', async () => (await endpoint.signer.readiness()).ok);
      } finally {
        rule.remove();
        await flood.stop();
      }
    });
  }
});
