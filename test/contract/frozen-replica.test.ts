import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { decodeProtectedHeader } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { keyShelf } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { putPool } from './installation.ts';
import {
  type Answer,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

/** A view of the pool counts for 30 s, and one second more. */
const frozenMs = 31_000;
const request = stubRequest(keyShelf()('ECDSA P-256'));

/** As a suspended machine, or one without a CPU to spare: the process stands still, and then goes on as if nothing were. */
describe('a replica that was frozen while its keys were tainted', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;
  /** Another replica, with its own way to the API server. */
  let otherProxy: FaultProxy;
  let other: TokenSigner;
  /** When the other one signed with a tainted key for the last time, in milliseconds after the taint, and what it says then. */
  let cutOff: Promise<{ lastMs: number; refusal: Answer }>;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    installed = await installTokenEndpoint(controlPlane, { server: proxy.url, authority: proxy.authority });
    endpoint = await startTokenSigner(installed, { flags: ['--x509-svid', 'true'] });
    await endpoint.signer.ready();
    otherProxy = await startFaultProxy({
      url: controlPlane.url,
      authority: controlPlane.authority.certificate,
    });
    const reach = { server: otherProxy.url, authority: otherProxy.authority };
    const account = { namespace: 'kubespiffe', name: 'kubespiffe-signer' };
    const kubeconfig = await controlPlane.kubeconfigFor(account, reach);
    // It knows the token of the pod for longer than it may sign.
    const flags = ['--token-review-cache', '5m'];
    other = await startTokenSigner({ ...installed, kubeconfig }, { flags, replica: 'cut-off' });
    await other.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    other?.agent.destroy();
    await proxy?.stop();
    await otherProxy?.stop();
    await controlPlane?.stop();
  });

  const kidOf = (answer: Answer) => decodeProtectedHeader(String(answer.json.access_token)).kid;
  const refusalOf = ({ status, json }: Answer) => (status === 200 ? 'issued' : String(json.reason));

  /** Everything in it that signs is tainted; others do so in its place. */
  async function changePool() {
    const { pool } = installed;
    const anHourAgo = Math.floor(Date.now() / 1000) - 3600;
    const tainted = pool.authorities.map((each) => ({ ...each, state: 'trusted' as const, tainted: true }));
    const root = await createAuthority({ id: 'next', trustDomain: 'example.org', now: anHourAgo });
    const jwtKey = await createJwtAuthority({ key: 'es256', id: 'jwt-next', now: anHourAgo });
    await putPool(controlPlane, {
      ...pool,
      sequence: pool.sequence + 1,
      authorities: [...tainted, root, jwtKey],
    });
    return new X509Certificate(root.certificate ?? '');
  }

  async function untilRefused(token: string, formerKid: string | undefined) {
    const taintedAt = performance.now();
    let lastMs = 0;
    const refusal = await waitFor(
      'the replica that is cut off to sign no more',
      async () => {
        const answer = await other.exchange(token);
        if (answer.status !== 200) return answer;
        assert.equal(kidOf(answer), formerKid);
        lastMs = performance.now() - taintedAt;
        return undefined;
      },
      { everyMs: 200 },
    );
    return { lastMs, refusal };
  }

  it('a replica that was frozen signs nothing when it wakes up, and then with the keys that are active now', {
    timeout: 240_000,
  }, async () => {
    const pod = await createPod(controlPlane);
    const token = await tokenFor(controlPlane, pod);
    const forCertificates = await tokenFor(controlPlane, pod, {
      audiences: [x509Audience],
      expirationSeconds: 3600,
    });
    const ask = () => Promise.all([endpoint.exchange(token), endpoint.certify(forCertificates, request)]);
    const before = await ask();
    assert.deepEqual(before.map(refusalOf), ['issued', 'issued']);
    const formerKid = before[0] && kidOf(before[0]);
    assert.equal(refusalOf(await other.exchange(token)), 'issued');

    // Everything that reports the change arrives later than the first request after the sleep.
    for (const watch of proxy.watches({ path: '/secrets' })) watch.silence();
    proxy.add({ path: /\/secrets/, fault: { kind: 'hang' } });
    process.kill(endpoint.signer.child.pid, 'SIGSTOP');
    const frozenAt = performance.now();
    otherProxy.freeze();
    const nextRoot = await changePool();
    cutOff = untilRefused(token, formerKid);
    const asked = ask();
    await waitFor('the view of the pool to be too old', () => performance.now() - frozenAt > frozenMs, {
      everyMs: 500,
    });
    process.kill(endpoint.signer.child.pid, 'SIGCONT');

    assert.ok(!(await asked).map(refusalOf).includes('issued'), (await asked).map(refusalOf).join());
    const refused = await waitFor('the reason', async () => {
      const answers = await ask();
      assert.ok(!answers.map(refusalOf).includes('issued'));
      return answers.every((answer) => refusalOf(answer) === 'SigningUnavailable') && answers;
    });
    for (const { json } of refused) {
      assert.match(String(json.error_description), /has not confirmed the Secret for 30 s/);
    }

    proxy.clear();
    proxy.resetConnections();
    const [jwt, certified] = await waitFor('signatures again', async () => {
      const answers = await ask();
      for (const answer of answers.slice(0, 1)) {
        if (answer.status === 200) assert.notEqual(kidOf(answer), formerKid);
      }
      return answers.every(({ status }) => status === 200) && answers;
    });
    assert.notEqual(kidOf(jwt), formerKid);
    assert.ok(new X509Certificate(certified.text).verify(nextRoot.publicKey));
  });

  it('a replica that is cut off from the API server signs with tainted keys for 30 s at most', async (t) => {
    const { lastMs, refusal } = await cutOff;
    t.diagnostic(`the last token with a tainted key came ${(lastMs / 1_000).toFixed(1)} s after the taint`);
    assert.ok(lastMs > 5_000 && lastMs <= 30_500, `${lastMs} ms`);
    assert.match(String(refusal.json.error_description), /has not confirmed the Secret for 30 s/);
  });
});
