import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { createEventRecorder } from '../../signer/kube/events.ts';
import { createMembership, leaseName, type Membership } from '../../signer/kube/membership.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Lease } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { timeWith } from '../kube/fake-time.ts';
import { createAccount, expectSuccess, type ProxiedClient, startProxiedClient } from './kube-client.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases';

let controlPlane: ControlPlane;
let client: ProxiedClient;
const ends: (() => Promise<void>)[] = [];

before(async () => {
  controlPlane = await startControlPlane({ controllers: false });
  await createAccount(controlPlane, 'replica');
  client = await startProxiedClient(controlPlane, 'replica');
});
afterEach(async () => {
  client.proxy.clear();
  client.proxy.thaw();
  for (const end of ends.splice(0).reverse()) await end();
});
after(async () => {
  await client?.stop();
  await controlPlane?.stop();
});

function makeMembership(self: string, podUid: () => string | undefined = () => undefined): Membership {
  return createMembership({
    transport: client.transport,
    namespace: 'default',
    self,
    podUid,
    time: realTime,
    log: { warn: () => undefined, debug: () => undefined },
  });
}

/** Runs a replica in this process. @returns it, and what lets it leave. */
function join(
  self: string,
  podUid?: () => string | undefined,
): { membership: Membership; leave: () => Promise<void> } {
  const membership = makeMembership(self, podUid);
  const stop = new AbortController();
  const run = membership.run(stop.signal);
  const leave = async () => {
    stop.abort();
    await run;
  };
  ends.push(leave);
  return { membership, leave };
}

const sees = (membership: Membership, members: string[]) =>
  waitFor(
    `${membership.self} to see ${members}`,
    () => JSON.stringify(membership.members()) === JSON.stringify(members),
    { everyMs: 20 },
  );

async function readLease(self: string): Promise<Lease | undefined> {
  const { status, body } = await controlPlane.request('GET', `${leases}/${leaseName(self)}`);
  return status === 200 ? (body as Lease) : undefined;
}

describe('membership on a real API server', () => {
  test('a replica sees itself before any event, and two see each other without a renewal', async () => {
    const a = join('a');
    assert.deepEqual(a.membership.members(), ['a']);
    const renewals = client.proxy.add({ method: 'PATCH', path: leases, fault: { kind: 'hang' } });
    const b = join('b');
    await sees(a.membership, ['a', 'b']);
    await sees(b.membership, ['a', 'b']);
    renewals.remove();
    const lease = await readLease('a');
    assert.equal(lease?.spec?.holderIdentity, 'a');
    assert.deepEqual(lease?.metadata.labels, {
      'app.kubernetes.io/name': 'kubespiffe',
      'kubespiffe.io/component': 'signer',
    });
  });

  test('a replica that leaves is gone at once, and so is its Lease', async () => {
    const a = join('a');
    const b = join('b');
    await sees(a.membership, ['a', 'b']);
    const startedAt = performance.now();
    await b.leave();
    await sees(a.membership, ['a']);
    // One that does not say so counts for ten seconds.
    assert.ok(performance.now() - startedAt < 9_000);
    assert.equal(await readLease('b'), undefined);
  });

  test('a replica that is killed counts for ten seconds more, and is back when it starts again', async () => {
    const a = join('a');
    const start = () =>
      spawn(process.execPath, [`${import.meta.dirname}/kube-replica.ts`, client.kubeconfig, 'killed'], {
        stdio: 'inherit',
      });
    const first = start();
    await sees(a.membership, ['a', 'killed']);
    first.kill('SIGKILL');
    await once(first, 'exit');
    const killedAt = performance.now();
    await sees(a.membership, ['a']);
    const tookMs = performance.now() - killedAt;
    assert.ok(tookMs > 5_000 && tookMs < 15_000, `${tookMs} ms`);

    const second = start();
    await sees(a.membership, ['a', 'killed']);
    second.kill('SIGTERM');
    await once(second, 'exit');
    await sees(a.membership, ['a']);
  });

  test('the Lease belongs to the pod of the replica as soon as that is known, so that Kubernetes deletes it', async () => {
    let podUid: string | undefined;
    const { membership } = join('a', () => podUid);
    const owners = async () => (await readLease('a'))?.metadata.ownerReferences;
    await waitFor('the Lease', () => readLease('a'));
    assert.equal(await owners(), undefined);
    podUid = '5a0a7e0c-7a0b-4a53-8b53-3f7a4ad0c2d4';
    await waitFor('the owner', owners);
    assert.deepEqual(await owners(), [{ apiVersion: 'v1', kind: 'Pod', name: 'a', uid: podUid }]);
    assert.deepEqual(membership.members(), ['a']);
    expectSuccess(await controlPlane.request('DELETE', `${leases}/${leaseName('a')}`));
    await waitFor('the Lease of the same pod again', owners);
  });

  test('a replica renews its Lease every three seconds with one small write, and makes a lost one again', async () => {
    const { membership } = join('a');
    await waitFor('the Lease', () => readLease('a'));
    client.proxy.forget();
    const startedAt = performance.now();
    await waitFor('three renewals', () => client.proxy.count({ method: 'PATCH', path: leases }) >= 3);
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs > 6_000 && tookMs < 15_000, `${tookMs} ms`);
    const writes = client.proxy.requests.filter(({ method }) => method !== 'GET');
    assert.equal(writes.length, client.proxy.count({ method: 'PATCH', path: leases }));
    expectSuccess(await controlPlane.request('DELETE', `${leases}/${leaseName('a')}`));
    await waitFor('the Lease again', () => readLease('a'));
    assert.deepEqual(membership.members(), ['a']);
  });

  test('the members stay when the API server is killed and comes back within ten seconds', async () => {
    const a = join('a');
    const b = join('b');
    await sees(a.membership, ['a', 'b']);
    const changes: string[][] = [];
    a.membership.onChange(() => changes.push([...a.membership.members()]));
    await controlPlane.killApiServer();
    await controlPlane.startApiServer();
    const before = (await readLease('b'))?.spec?.renewTime;
    await waitFor('a renewal', async () => (await readLease('b'))?.spec?.renewTime !== before);
    await sees(a.membership, ['a', 'b']);
    await sees(b.membership, ['a', 'b']);
    assert.ok(changes.length <= 2, JSON.stringify(changes));
  });

  test('a replica that is cut off from the API server is no longer a member soon', async () => {
    const { leave } = join('a');
    await waitFor('the Lease', () => readLease('a'));
    client.proxy.freeze();
    const startedAt = performance.now();
    await leave();
    // It waits 1.5 s for an answer.
    assert.ok(performance.now() - startedAt < 5_000);
    client.proxy.thaw();
  });
});

describe('events on a real API server', () => {
  test('Events are accepted, and a repetition becomes a series', async () => {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-0', namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'none' }], automountServiceAccountToken: false },
    };
    expectSuccess(
      await controlPlane.request('POST', '/api/v1/namespaces/default/serviceaccounts', {
        metadata: { name: 'default' },
      }),
    );
    const created = await controlPlane.request('POST', '/api/v1/namespaces/default/pods', pod);
    expectSuccess(created);
    const { uid } = (created.body as { metadata: { uid: string } }).metadata;
    let movedMs = 0;
    const recorder = createEventRecorder({
      transport: client.transport,
      controller: 'kubespiffe.io/signer',
      instance: 'replica-0',
      time: timeWith({
        monotonic: () => performance.now() + movedMs,
        timer: (run, ms) => realTime.timer(run, Math.min(ms, 50)),
      }),
      log: { debug: () => undefined },
    });
    const stop = new AbortController();
    const run = recorder.run(stop.signal);
    ends.push(async () => {
      stop.abort();
      await run;
    });
    const record = () =>
      recorder.record({
        key: `${uid}/PoolMissing`,
        regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'web-0', uid },
        related: {
          apiVersion: 'certificates.k8s.io/v1',
          kind: 'PodCertificateRequest',
          namespace: 'default',
          name: 'req-x',
          uid: '4a1b',
        },
        type: 'Warning',
        reason: 'PoolMissing',
        action: 'Wait',
        note: `${'ü'.repeat(600)} and more`,
      });
    const read = async () => {
      const path = '/apis/events.k8s.io/v1/namespaces/default/events';
      const { body } = await controlPlane.request('GET', path);
      const { items } = body as { items: { reason: string; note: string; series?: { count: number } }[] };
      return items.filter(({ reason }) => reason === 'PoolMissing');
    };
    record();
    await waitFor('the answer', () =>
      client.calls.some(({ resource, code }) => resource === 'events' && code === '201'),
    );
    assert.equal((await read()).length, 1);
    for (let round = 0; round < 5; round += 1) record();
    movedMs = 60_000;
    const [event] = await waitFor('the series', async () => {
      const found = await read();
      return found[0]?.series?.count === 6 ? found : undefined;
    });
    assert.equal((await read()).length, 1);
    const noteBytes = Buffer.byteLength(event?.note ?? '');
    assert.ok(noteBytes > 1020 && noteBytes <= 1024, `${noteBytes}`);
    assert.match(
      await controlPlane.kubectl(['describe', 'pod', 'web-0']),
      /Warning +PoolMissing .*kubespiffe.io\/signer/,
    );
  });
});
