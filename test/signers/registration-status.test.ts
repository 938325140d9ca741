import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { factsOf, joinFacts, podFacts } from '../../signer/identity/facts.ts';
import { noPolicy } from '../../signer/identity/guard-rails.ts';
import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import { outcomeOfPod } from '../../signer/identity/registration-outcome.ts';
import { type FollowedRegistration, registrationSpecs } from '../../signer/identity/registration-specs.ts';
import type { RegistrationStatus } from '../../signer/identity/registration-status.ts';
import { createRegistrations } from '../../signer/identity/registrations.ts';
import type { Informer } from '../../signer/kube/informer.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { createRegistrationStatus } from '../../signer/signers/registration-status.ts';
import { aClusterRegistration, aRegistration, templateContext } from '../identity/registrations.ts';
import { aPod } from '../issuance/examples.ts';
import { createFakeTime, settle } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { onlyMember } from '../trust/membership.ts';

const pods = 10_000;

/** The writer on stores that stand for the cluster, and an API that keeps what is written into them. */
async function setup(registrations: readonly Registration[], members = ['a']) {
  const time = createFakeTime();
  const listeners: (() => void)[] = [];
  const api = createScriptedApi();
  const specs = registrationSpecs(templateContext);
  const podStore = createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } });
  const workload = createStore<FollowedRegistration>({ time: realTime });
  const cluster = createStore<FollowedRegistration>({ time: realTime });
  const namespaces = createStore<object>({ time: realTime });
  namespaces.set('shop', {});
  const index = createRegistrations(
    { workload, cluster, policies: { get: () => noPolicy }, namespaces: namespaces as never, pods: podStore },
    undefined,
  );
  const store = (registration: Registration) => (registration.namespace === undefined ? cluster : workload);
  const put = (registration: Registration, status?: unknown) =>
    store(registration).set(nameOfRegistration(registration), { ...registration, status });
  for (const each of registrations) put(each);

  const counted: string[] = [];
  const warnings: string[] = [];
  const gone = new Set<string>();
  const outcomeOf = outcomeOfPod(index, podStore, {
    ...{ trustDomain: 'example.org', clusterName: undefined },
    serviceNames: () => ({ ok: true, value: [] }),
  });
  api.answer = ({ path, body }) => {
    const [, namespace, name = ''] = /(?:namespaces\/([^/]+)\/)?\w+\/([^/]+)\/status$/.exec(path) ?? [];
    const registration = namespace ? workload.get(`${namespace}/${name}`) : cluster.get(name);
    if (gone.has(name)) return { status: 404, body: { kind: 'Status', details: { name } } };
    assert.ok(registration, path);
    // The watch is later than the answer.
    setImmediate(() => put(registration, (body as { status: unknown }).status));
    return { status: 200, body: {} };
  };
  const metrics = createMetrics();
  const part = createRegistrationStatus({
    shared: {
      transport: api.transport,
      membership: {
        ...onlyMember,
        members: () => members,
        onChange: (listener) => void listeners.push(listener),
      },
      log: { info() {}, warn: (_fields: object, message: string) => void warnings.push(message) } as never,
      ...{ time, metrics },
    },
    followed: [
      { store: workload, spec: specs.workload },
      { store: cluster, spec: specs.cluster },
    ] as unknown as Informer<FollowedRegistration>[],
    known: Promise.resolve(),
    facts: joinFacts([
      podFacts(podStore),
      factsOf(workload, (each, key) => index.podsOf(each, key), specs.workload.isSame),
      factsOf(cluster, (each, key) => index.podsOf(each, key), specs.cluster.isSame),
    ]),
    outcomeOf(podKey) {
      counted.push(podKey);
      return outcomeOf(podKey);
    },
    isOurs: () => true,
  });
  const stop = new AbortController();
  const running = part.run(stop.signal);
  for (let count = 0; count < pods; count += 1)
    podStore.set(`shop/web-${count}`, aPod({ labels: { app: 'web' } }));
  return {
    ...{ time, metrics, counted, warnings, gone, put, workload, cluster, podStore },
    membersChanged() {
      for (const listener of listeners) listener();
    },
    /** Lets seconds pass, and in each of them everything run. */
    async pass(seconds: number) {
      for (let second = 0; second < seconds; second += 1) {
        await time.advance(1_000);
        await settle();
      }
    },
    /** The objects whose status was written since the last call. */
    written: () => api.requests.splice(0).map(({ path }) => path.replace(/^.*\/([^/]+)\/status$/, '$1')),
    statusOf: (name: string) => (workload.get(name) ?? cluster.get(name))?.status as RegistrationStatus,
    async end() {
      stop.abort();
      await time.advance(0);
      await running;
    },
  };
}
const label = (app: string) => ({ podSelector: { matchLabels: { app } } });

describe('the writer of the status of registrations', () => {
  it('the status writer counts each of 10,000 pods once, and writes once for each registration', async () => {
    const all = aClusterRegistration({ fallback: true });
    const scene = await setup([all, aRegistration(label('web')), aRegistration(label('other'), 'other')]);
    await scene.pass(40);
    assert.deepEqual(scene.written().sort(), ['all', 'other', 'web']);
    assert.deepEqual(
      [scene.statusOf('shop/web').podsSelected, scene.statusOf('shop/web').namesGiven],
      [pods, pods],
    );
    assert.deepEqual([scene.statusOf('all').podsSelected, scene.statusOf('all').namesGiven], [pods, 0]);
    assert.equal(scene.counted.length, pods);
    assert.match(
      await scene.metrics.render(),
      /registrations\{resource="workloadregistrations",ready="true"\} 2/,
    );
    await scene.end();
  });

  it('the status writer counts the 10 pods of 10,000 that a change affects, and writes once', async () => {
    const scene = await setup([aRegistration(label('web')), aRegistration(label('ten'), 'ten')]);
    for (let count = 0; count < 10; count += 1)
      scene.podStore.set(`shop/ten-${count}`, aPod({ labels: { app: 'ten' } }));
    await scene.pass(40);
    scene.written();
    scene.counted.length = 0;
    scene.put(
      { ...aRegistration({ ...label('ten'), priority: 5 }, 'ten'), generation: 2 },
      scene.statusOf('shop/ten'),
    );
    await scene.pass(40);
    assert.deepEqual(scene.written(), ['ten']);
    assert.equal(scene.counted.length, 10);
    await scene.end();
  });

  it('the status writer writes once for a registration that selects other pods, and once for their former one', async () => {
    const scene = await setup([aRegistration(label('web')), aRegistration(label('none'), 'none')]);
    await scene.pass(40);
    scene.written();
    scene.put(
      { ...aRegistration({ ...label('web'), priority: 1 }, 'none'), generation: 2 },
      scene.statusOf('shop/none'),
    );
    await scene.pass(40);
    assert.deepEqual(scene.written().sort(), ['none', 'web']);
    assert.equal(scene.statusOf('shop/none').namesGiven, pods);
    await scene.end();
  });

  it('the status writer writes once in 5 s at most while pods change, and nothing afterwards', async () => {
    const scene = await setup([aRegistration(label('web'))]);
    await scene.pass(40);
    scene.written();
    for (let second = 0; second < 60; second += 1) {
      scene.podStore.delete(`shop/web-${second}`);
      await scene.pass(1);
    }
    const { length } = scene.written();
    assert.ok(length >= 10 && length <= 13, String(length));
    await scene.pass(10);
    scene.written();
    scene.counted.length = 0;
    await scene.pass(600);
    assert.deepEqual([scene.written(), scene.counted], [[], []]);
    assert.equal(scene.statusOf('shop/web').podsSelected, pods - 60);
    await scene.end();
  });

  it('the status writer writes nothing while another replica ranks first, and takes over when it is gone', async () => {
    const members = ['a', 'b'];
    const registrations = Array.from({ length: 20 }, (_, count) =>
      aRegistration(label('web'), `web-${count}`),
    );
    const scene = await setup(registrations, members);
    await scene.pass(40);
    const own = scene.written();
    assert.ok(own.length > 0 && own.length < 20, String(own.length));
    members.pop();
    scene.membersChanged();
    await scene.pass(40);
    assert.deepEqual([...own, ...scene.written()].sort(), registrations.map(({ name }) => name).sort());
    await scene.end();
  });

  it('the status writer restores a status that another client has overwritten', async () => {
    const scene = await setup([aRegistration(label('web'))]);
    await scene.pass(40);
    const right = scene.statusOf('shop/web');
    scene.put(aRegistration(label('web')), { conditions: 'none', podsSelected: -1 });
    await scene.pass(40);
    assert.deepEqual({ ...scene.statusOf('shop/web'), conditions: [] }, { ...right, conditions: [] });
    await scene.end();
  });

  it('the status writer leaves a status alone that has a member of a newer version', async () => {
    const scene = await setup([aRegistration(label('web'))]);
    await scene.pass(40);
    scene.written();
    scene.put(aRegistration(label('web')), { ...scene.statusOf('shop/web'), newer: 1 });
    await scene.pass(40);
    assert.deepEqual(scene.written(), []);
    await scene.end();
  });

  it('the status writer continues if a registration is deleted before its status is written', async () => {
    const scene = await setup([aRegistration(label('web')), aRegistration(label('other'), 'other')]);
    scene.gone.add('web');
    await scene.pass(10);
    scene.workload.delete('shop/web');
    await scene.pass(40);
    assert.equal(scene.statusOf('shop/other').podsSelected, 0);
    assert.match(
      await scene.metrics.render(),
      /registrations\{resource="workloadregistrations",ready="true"\} 1/,
    );
    assert.deepEqual(scene.warnings, []);
    await scene.end();
  });
});
