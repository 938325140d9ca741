import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { createPoolView, type PoolView } from '../../signer/authority/view.ts';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { type ApiRequest, createTransport, type Transport } from '../../signer/kube/transport.ts';
import { createLogger } from '../../signer/observe/log.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { timeWith } from '../kube/fake-time.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';

/** How a replica keeps the pool Secret in view when the connection to the API server does not do what it should. */
describe('the view of the pool', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let transport: Transport;
  let view: PoolView;
  let stop: AbortController;
  let running: Promise<void>;
  let changes = 0;
  /** Added to the monotonic clock: time passes when a test says so. */
  let passed = 0;
  /** Added to the other clock: the machine was suspended, which the monotonic one does not count. */
  let slept = 0;
  /** While it is set, the answers of live reads are held back on their way to the view. */
  let held: { readonly onAnswer: () => void; readonly until: Promise<void> } | undefined;
  /** What the view asked for, before the test cut it short. */
  let lastPauseMs = 0;
  /** The longest pause of the view. A silent watch is cut only after a longer time. */
  const longestPauseMs = 10_000;
  const lines: string[] = [];
  let sequence = 0;

  /** The authorities of all earlier pools: a pool says which roots it takes out. */
  const retired: AuthorityRecord[] = [];
  /** A pool that may follow all earlier ones. */
  async function nextPool(): Promise<PoolDocument> {
    sequence += 1;
    const made = await aPool({ id: `ca-${sequence}` });
    const pool = { ...made, sequence, authorities: [...made.authorities, ...retired] };
    retired.push(...made.authorities.map((each) => ({ ...each, state: 'retired' as const })));
    return pool;
  }

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    const kubeconfig = await installSigner(controlPlane, { server: proxy.url, authority: proxy.authority });
    transport = createTransport({
      time: realTime,
      credentials: await loadCredentials({ time: realTime, kubeconfig, env: {} }),
    });
    await putPool(controlPlane, await nextPool());
    stop = new AbortController();
    view = createPoolView({
      transport: {
        ...transport,
        async request<T>(request: ApiRequest) {
          const answer = await transport.request<T>(request);
          if (held && request.path.endsWith('/kubespiffe-pool')) {
            held.onAnswer();
            await held.until;
          }
          return answer;
        },
      },
      namespace: 'kubespiffe',
      name: 'kubespiffe-pool',
      trustDomain: 'example.org',
      rootPropagationSeconds: 0,
      published: {
        known: Promise.resolve(),
        mark: () => undefined,
        rootEnds: () => new Map(),
      },
      time: timeWith({
        now: () => Date.now() + slept,
        monotonic: () => performance.now() + passed,
        // The clock is moved, not waited for, so the part that waits has to look at it often.
        timer(run, ms) {
          if (ms > longestPauseMs) return realTime.timer(run, ms);
          lastPauseMs = ms;
          return realTime.timer(run, 20);
        },
      }),
      log: createLogger({ level: 'info', destination: { write: (line) => void lines.push(line) } }),
    });
    view.onChange(() => changes++);
    running = view.run(stop.signal);
  });
  after(async () => {
    stop?.abort();
    await running;
    await transport?.close();
    await proxy?.stop();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    proxy.clear();
    proxy.thaw();
    const pool = await nextPool();
    await putPool(controlPlane, pool);
    passed += 10_000;
    const root = sha256Of(pool.authorities[0]?.certificate ?? '');
    await waitFor(
      'the new pool',
      async () => verdict() === 'signs' && view.current()?.active?.root.sha256Hex === root,
    );
  });

  const sha256Of = (pem: string) => new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
  const verdict = () => {
    const outcome = view.signable(Math.floor(Date.now() / 1000));
    return outcome.ok ? 'signs' : outcome.problem.reason;
  };
  const becomes = (expected: string) =>
    waitFor(`the pool to be: ${expected}`, async () => verdict() === expected);
  const watching = () =>
    waitFor('a watch of the pool', async () => proxy.watches({ path: /secrets/ }).length > 0);
  const tainted = async () => {
    const pool = await nextPool();
    return { ...pool, authorities: pool.authorities.map((each) => ({ ...each, tainted: true })) };
  };

  it('the view of the pool keeps what the watch has reported since a live read was answered', async () => {
    const answered = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    held = { onAnswer: answered.resolve, until: released.promise };
    const reading = view.readLive();
    await answered.promise;
    const newer = await nextPool();
    await putPool(controlPlane, newer);
    const root = sha256Of(newer.authorities[0]?.certificate ?? '');
    await waitFor('the watch to tell', async () => view.current()?.active?.root.sha256Hex === root);
    held = undefined;
    released.resolve();
    const live = await reading;
    assert.equal(live.ok && live.pool.active?.root.sha256Hex, root);
    assert.equal(view.current()?.active?.root.sha256Hex, root);
  });

  it('the view of the pool follows the Secret, and keeps the last good pool when it goes', async () => {
    const root = view.current()?.roots[0]?.sha256Hex;
    await putPool(controlPlane, await tainted());
    await becomes('PoolNotSigning');
    await deletePool(controlPlane);
    await becomes('PoolMissing');
    assert.notEqual(
      view.current()?.roots[0]?.sha256Hex,
      root,
      'the tainted one was sound, so it was taken in',
    );
    assert.equal(view.current()?.roots.length, 1);
  });

  it('the view of the pool finds a change within seconds although the watch is silent', async () => {
    await watching();
    proxy.watches({ path: /secrets/ })[0]?.silence();
    await putPool(controlPlane, await tainted());
    assert.equal(verdict(), 'signs', 'the watch says nothing');
    passed += 10_000;
    await becomes('PoolNotSigning');
  });

  it('a signer signs nothing when the API server has not confirmed the pool for 30 s, and signs again later', async () => {
    proxy.freeze();
    passed += 29_000;
    assert.equal(verdict(), 'signs');
    passed += 2_000;
    assert.equal(verdict(), 'PoolUnconfirmed');
    assert.match(view.problem()?.message ?? '', /has not confirmed the Secret for 30 s; check that/);
    assert.equal(view.current()?.roots.length, 1);
    proxy.thaw();
    await becomes('signs');
  });

  it('a signer signs nothing after the machine has slept until the Secret was read again', async () => {
    proxy.freeze();
    slept += 60_000;
    assert.equal(verdict(), 'PoolUnconfirmed');
    proxy.thaw();
    await becomes('signs');
  });

  it('a signer signs no token when the API server has not confirmed the pool for 30 s', async () => {
    const now = Math.floor(Date.now() / 1000);
    const key = await createJwtAuthority({ key: 'es256', now });
    const pool = await nextPool();
    await putPool(controlPlane, { ...pool, authorities: [...pool.authorities, key] });
    const tokens = () => {
      const signable = view.jwtSignable('ES256', now + 900, 900);
      return signable.ok ? signable.authority.id : signable.problem.reason;
    };
    await waitFor('the key', async () => tokens() === key.id);
    proxy.freeze();
    passed += 31_000;
    assert.equal(tokens(), 'PoolUnconfirmed');
    proxy.thaw();
    await waitFor('the key to sign again', async () => tokens() === key.id);
  });

  it('the view takes a pool from a restored etcd although its version is lower than one that was seen', async () => {
    await controlPlane.etcd.save();
    const configMap = { metadata: { generateName: 'write-' } };
    for (let write = 0; write < 300; write += 1) {
      await controlPlane.request('POST', '/api/v1/namespaces/default/configmaps', configMap);
    }
    const later = await nextPool();
    await putPool(controlPlane, later);
    const root = sha256Of(later.authorities[0]?.certificate ?? '');
    await waitFor('the later pool', () => view.current()?.active?.root.sha256Hex === root);
    await controlPlane.killApiServer();
    await controlPlane.etcd.putBack();
    await controlPlane.startApiServer();
    await putPool(controlPlane, await tainted());
    passed += 10_000;
    await becomes('PoolNotSigning');
    assert.ok(lines.join('').includes('the pool Secret is older than before'));
    const next = await nextPool();
    await putPool(controlPlane, next);
    const nextRoot = sha256Of(next.authorities[0]?.certificate ?? '');
    await waitFor('the next pool', () => view.current()?.active?.root.sha256Hex === nextRoot);
    assert.equal(verdict(), 'signs');
  });

  it('the view keeps the last good pool when another one has the same sequence, and takes it once that is raised', async () => {
    const before = view.current();
    const unraised = await nextPool();
    sequence -= 1;
    await putPool(controlPlane, { ...unraised, sequence });
    passed += 10_000;
    await becomes('PoolSequenceNotRaised');
    assert.equal(view.current(), before);
    assert.ok(lines.join('').includes('kubespiffe ca restore'));
    await putPool(controlPlane, { ...unraised, sequence: sequence + 1 });
    sequence += 1;
    passed += 10_000;
    await becomes('signs');
  });

  it('the view reads live without calling a listener when nothing has changed', async () => {
    const before = changes;
    const live = await view.readLive();
    assert.ok(live.ok);
    assert.equal(live.pool, view.current());
    assert.equal(changes, before);
  });

  it('the view reads live every 10 s at most while the watch works', async () => {
    passed += 10_000;
    const jumped = performance.now() + passed;
    await waitFor('a live look', async () => view.confirmedAtMonotonic() >= jumped);
    await waitFor('a long pause after it', async () => lastPauseMs > 9_000);
  });

  it('the view of the pool writes no key to the log', () => {
    assert.ok(lines.length > 0);
    assert.doesNotMatch(lines.join(''), /PRIVATE KEY|MIGHAgEA/);
  });
});
