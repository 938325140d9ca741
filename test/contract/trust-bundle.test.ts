import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { markOf } from '../../signer/authority/sequence.ts';
import type { ClusterTrustBundle, Pod } from '../../signer/kube/types.ts';
import { desiredBundle, toObservedBundle } from '../../signer/trust/bundle.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
/** A write of the live bundle; that of the preview bundle has a longer name. */
const published = { method: 'PATCH', path: `${bundlePath}?` };

/** Who writes the ClusterTrustBundle, from what, and that nothing is signed before it is seen. */
describe('the trust bundle before the signature', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let kubeconfig: string;
  let signer: SignerProcess;
  let pool: PoolDocument;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    kubeconfig = await installSigner(controlPlane, { server: proxy.url, authority: proxy.authority });
    pool = await aPool();
    await putPool(controlPlane, pool);
  });
  after(async () => {
    await signer?.child.stop();
    await proxy?.stop();
    await controlPlane?.stop();
  });
  beforeEach(() => proxy.clear());

  /** No other replica is to step in because the machine is slow: who is first in rank is to write. */
  const start = (replica: string) => startSigner({ kubeconfig, replica, flags: ['--takeover-delay', '30s'] });
  const deleteBundle = async () => {
    assert.equal((await controlPlane.request('DELETE', bundlePath)).status, 200);
  };
  const watchesOf = (resource: string | RegExp) => proxy.watches({ path: resource });
  /** Other signers watch their own. */
  const bundlesOfSpiffe = /clustertrustbundles\?.*kubespiffe\.io(\/|%2F)spiffe(&|$)/;

  async function bundle(path = bundlePath): Promise<ClusterTrustBundle | undefined> {
    const answer = await controlPlane.request('GET', path);
    return answer.status === 200 ? (answer.body as ClusterTrustBundle) : undefined;
  }

  const rootsOf = (found: ClusterTrustBundle | undefined) =>
    found ? [...toObservedBundle(found).roots].sort() : [];

  const rootsIn = (document: PoolDocument) =>
    document.authorities
      .flatMap(({ certificate }) => (certificate === undefined ? [] : [new X509Certificate(certificate)]))
      .map(({ fingerprint256 }) => fingerprint256.replaceAll(':', '').toLowerCase())
      .sort();

  /** Puts the pool with one authority more, in this state. The one before is active no longer if the new one is. */
  async function add(id: string, state: 'preview' | 'trusted' | 'active'): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    const authority = await createAuthority({ id, trustDomain: 'example.org', now });
    const others = pool.authorities.map((each) =>
      state === 'active' ? { ...each, state: 'retiring' as const } : each,
    );
    pool = { ...pool, sequence: pool.sequence + 1, authorities: [...others, { ...authority, state }] };
    await putPool(controlPlane, pool);
  }

  async function notReady(expected: RegExp): Promise<void> {
    await waitFor(`readiness to say ${expected}`, async () => {
      const { ok, text } = await signer.readiness();
      if (ok || !expected.test(text)) throw new Error(text);
      return true;
    });
  }

  async function eventOn(pod: Pod): Promise<{ reason: string; type: string; note: string }> {
    return waitFor('the Event', async () => {
      const answer = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = answer.body as {
        items: { reason: string; type: string; note: string; regarding: { uid: string } }[];
      };
      return items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
    });
  }

  /** A request that waits for the bundle, told to its pod; once `mend` has let the bundle be seen, it is answered. */
  async function waitsForTheBundle(mend: () => unknown): Promise<X509Certificate> {
    const pod = await createPod(controlPlane);
    const request = await requestFor(controlPlane, pod);
    const { reason, type, note } = await eventOn(pod);
    assert.deepEqual({ reason, type }, { reason: 'TrustNotPublished', type: 'Warning' });
    assert.match(note, /not yet seen in ClusterTrustBundle kubespiffe\.io:spiffe:roots/);
    assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
    mend();
    const { conditions, certificateChain } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued');
    await signer.ready();
    return new X509Certificate(certificateChain ?? '');
  }

  it('a request stays open while the API server refuses the bundle, with the reason on the pod, and is issued later', async () => {
    const refused = proxy.add({ ...published, fault: { kind: 'answer', status: 403 } });
    signer = await start('signer-a');
    await notReady(
      /^\[-\]spiffe\/trust-bundle .*the bundle is missing: .*answered by the fault proxy with 403/m,
    );
    assert.equal(await bundle(), undefined);
    await waitsForTheBundle(() => refused.remove());
    assert.deepEqual(rootsOf(await bundle()), rootsIn(pool));
  });

  it('the signer signs under a new root only when its own watch shows it in the bundle', async () => {
    await waitFor('a watch of the bundle', () => watchesOf(bundlesOfSpiffe).length > 0);
    const [watch] = watchesOf(bundlesOfSpiffe);
    watch?.silence();
    await add('next', 'active');
    await waitFor('the bundle to have the new root', async () => rootsOf(await bundle()).length === 2);
    await notReady(/^\[-\]spiffe\/trust-bundle /m);
    const leaf = await waitsForTheBundle(() => watch?.end());
    const issuer = new X509Certificate(pool.authorities[1]?.certificate ?? '');
    assert.ok(leaf.verify(issuer.publicKey));
  });

  it('the bundle is made of the current Secret, and not of what the watch has reported', async () => {
    await waitFor('a watch of the pool', () => watchesOf('/secrets').length > 0);
    const [watch] = watchesOf('/secrets');
    watch?.silence();
    await add('third', 'trusted');
    await deleteBundle();
    const made = await waitFor('the bundle', () => bundle());
    assert.deepEqual(rootsOf(made), rootsIn(pool));
    watch?.end();
  });

  it('the bundle is not made from memory while there is no pool, and is made again once there is', async () => {
    await deletePool(controlPlane);
    await notReady(/^\[-\]spiffe\/pool .*no such Secret/m);
    proxy.forget();
    await deleteBundle();
    await waitFor('the refusal', () =>
      signer
        .lines()
        .some(
          ({ msg, difference }) =>
            /no such Secret/.test(String(msg)) && difference === 'the bundle is missing',
        ),
    );
    assert.equal(proxy.count(published), 0);
    assert.equal(await bundle(), undefined);
    await putPool(controlPlane, pool);
    assert.deepEqual(rootsOf(await waitFor('the bundle', () => bundle())), rootsIn(pool));
    await signer.ready();
  });

  /** Holds the next write of the bundle, and publishes a newer one meanwhile, as another replica would. */
  async function isOvertaken(id: string, cause: () => Promise<void>, expected: number): Promise<void> {
    const held = proxy.add({ ...published, fault: { kind: 'delay', ms: 2_000 }, times: 1 });
    proxy.forget();
    await cause();
    await waitFor('the write to be held up', () => held.hits() === 1);
    await add(id, 'trusted');
    const compiled = compilePool(pool, pool.trustDomain);
    assert.ok(compiled.ok);
    const { roots, trustDomain } = compiled.pool;
    const signerName = 'kubespiffe.io/spiffe';
    const mark = markOf(compiled.pool);
    const desired = desiredBundle({
      ...{ signerName, suffix: 'roots', trustDomain, canarying: 'live' },
      ...{ roots, mark },
    });
    assert.ok(desired.ok);
    const { name, labels, annotations, trustBundle } = desired.value;
    const newer = await controlPlane.request(
      'PATCH',
      `${bundlePath}?fieldManager=kubespiffe&force=true`,
      {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'ClusterTrustBundle',
        metadata: { name, labels, annotations },
        spec: { signerName, trustBundle },
      },
      { contentType: 'application/apply-patch+yaml' },
    );
    assert.equal(newer.status, expected);
    const outcome = await waitFor('the late write', () =>
      proxy.requests.find(
        ({ method, path, status }) =>
          method === 'PATCH' && path.startsWith(published.path) && status !== undefined,
      ),
    );
    assert.equal(outcome.status, 409);
    await signer.ready();
    const now = await bundle();
    assert.deepEqual(rootsOf(now), rootsIn(pool));
    assert.equal(now?.metadata.resourceVersion, newer.body.metadata.resourceVersion);
  }

  it('a delayed write does not replace a newer bundle', () =>
    isOvertaken('fifth', () => add('fourth', 'trusted'), 200));

  it('a delayed first write does not replace a bundle that was created meanwhile', () =>
    isOvertaken('created', deleteBundle, 201));

  it('a root in preview is only in the preview bundle, beside the live roots', async () => {
    const preview = `${bundlePath}-preview`;
    const live = rootsIn(pool);
    const selects = async (canarying: string) => {
      const selector = ['canarying', 'workload-trust-domain', 'peer-trust-domain']
        .map((key) => `k8s.spiffe.io/${key}=${key === 'canarying' ? canarying : pool.trustDomain}`)
        .join(',');
      const query = `fieldSelector=spec.signerName=kubespiffe.io/spiffe&labelSelector=${selector}`;
      const { body } = await controlPlane.request('GET', `${bundlePath.replace(/\/[^/]*$/, '')}?${query}`);
      return (body.items as ClusterTrustBundle[]).map(rootsOf);
    };
    const untilCanariesHave = (roots: string[]) =>
      waitFor('the preview bundle', async () => rootsOf(await bundle(preview)).join() === roots.join());
    await untilCanariesHave(live);
    await add('canary', 'preview');
    await untilCanariesHave(rootsIn(pool));
    assert.deepEqual(await selects('preview'), [rootsIn(pool)]);
    assert.deepEqual(await selects('live'), [live]);
    await signer.ready();
    const setCanary = async (state: 'trusted' | 'prepared') => {
      const authorities = pool.authorities.map((each) => (each.id === 'canary' ? { ...each, state } : each));
      pool = { ...pool, sequence: pool.sequence + 1, authorities };
      await putPool(controlPlane, pool);
    };
    await setCanary('prepared');
    await untilCanariesHave(live);
    assert.deepEqual(await selects('live'), [live]);
    await setCanary('trusted');
    await waitFor('the live bundle', async () => rootsOf(await bundle()).length === live.length + 1);
    await untilCanariesHave(rootsIn(pool));
  });

  it('the live bundle is kept correct while the preview bundle cannot be written', async () => {
    const preview = { method: 'PATCH', path: `${bundlePath}-preview?` };
    const refused = proxy.add({ ...preview, fault: { kind: 'answer', status: 403 } });
    await add('sixth', 'trusted');
    await waitFor('the refusal', () => refused.hits() > 0);
    await waitFor('the bundle', async () => rootsOf(await bundle()).join() === rootsIn(pool).join());
    await signer.ready();
    const pod = await createPod(controlPlane);
    await answerTo(controlPlane, await requestFor(controlPlane, pod));
  });

  it('the bundle is written by one of two replicas', async () => {
    const other = await start('signer-b');
    await other.ready();
    const seen = () => watchesOf(bundlesOfSpiffe).map((watch) => watch.events());
    await waitFor('both to watch', () => seen().length === 2);
    proxy.forget();
    // A second writer of one round would be counted in the next one.
    for (const round of [1, 2, 3]) {
      const before = seen();
      await deleteBundle();
      await waitFor(
        'both to see it go and come back',
        () =>
          proxy.count(published) >= round && seen().every((events, at) => events >= (before[at] ?? 0) + 2),
      );
      assert.equal(proxy.count(published), round);
    }
    assert.deepEqual(rootsOf(await bundle()), rootsIn(pool));
    await other.child.stop();
  });
});
