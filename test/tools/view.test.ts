import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { messageOf } from '../../spiffe/errors.ts';
import type { ReadRequest } from '../../tools/explain/requests.ts';
import { printVerdict } from '../../tools/explain/steps.ts';
import { explainWholePod } from '../../tools/explain/whole-pod.ts';
import type { Terminal } from '../../tools/terminal.ts';
import { reviewAdmission } from '../../tools/ui/admission.ts';
import { clusterAnswers, foundIn } from '../../tools/ui/cluster-answers.ts';
import { createLatest } from '../../tools/ui/latest.ts';
import { createUiServer } from '../../tools/ui/server.ts';
import type { ClusterRead } from '../../tools/view/read.ts';
import { workloadStates } from '../../tools/view/workload-states.ts';
import { type Workload, workloadsOf } from '../../tools/view/workloads.ts';
import { newRequestKey } from '../contract/workloads.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { aKnownPod, aRegistration, aWirePod, aWorld } from './world.ts';

const terminal: Terminal = {
  ...{ out: () => undefined, err: () => undefined, hasColor: false },
  ...{ read: () => assert.fail('no file is read'), env: {}, now: Date.now },
};
const id = 'spiffe://example.org/ns/shop/sa/web';

/** A cluster with the pod shop/web-0, and this request of it. */
async function aRead(
  different: {
    pod?: object;
    request?: object;
    flags?: string[];
    registrations?: object[];
    events?: ClusterRead['events'];
  } = {},
): Promise<ClusterRead> {
  const { pod = aWirePod(), request, flags = [], registrations = [], events = [] } = different;
  const world = await aWorld({ pods: [pod], workloadregistrations: registrations }, flags);
  const wire: PodCertificateRequest = {
    metadata: { name: 'req-1', namespace: 'shop', creationTimestamp: '2026-11-29T10:00:00Z' },
    spec: {
      ...{ signerName: 'kubespiffe.io/spiffe', podName: 'web-0', podUID: 'u-1', serviceAccountName: 'web' },
      ...{ serviceAccountUID: 'sa', nodeName: 'node-1', nodeUID: 'node', maxExpirationSeconds: 86_400 },
      stubPKCS10Request: await newRequestKey(),
    },
    ...request,
  };
  const requests: ReadRequest[] = request ? [{ wire, version: 'v1' }] : [];
  return {
    ...{
      now: Date.parse('2026-11-29T10:00:30Z') / 1000,
      world,
      requests,
      events,
      bundles: [],
      pools: [],
    },
    ...{ replicas: { ok: true, value: [] }, peers: { ok: true, value: [] } },
  };
}

const denied = {
  type: 'Denied',
  ...{ status: 'True', reason: 'InvalidUnverifiedUserAnnotations', message: 'no such annotation' },
  lastTransitionTime: '2026-11-29T10:00:01Z',
};

const poolUnusable = {
  ...{ pod: 'shop/web-0', uid: 'u-1', reason: 'PoolUnusable', message: 'The CA pool cannot be used: x' },
  ...{ isDenial: false, at: '2026-11-29T10:00:05.000000Z' },
};

describe('what a pod has from a signer', () => {
  const rows: [what: string, read: Parameters<typeof aRead>[0], expected: Partial<Workload>[]][] = [
    ['a name whose request was deleted', {}, [{ state: 'named', names: [id], reason: null }]],
    [
      'an open request that nothing prevents',
      { request: {} },
      [{ state: 'waiting', names: [id], reason: null }],
    ],
    [
      'an open request that waits for a reason that only a replica knows',
      { request: {}, events: [poolUnusable] },
      [{ state: 'waiting', names: [id], reason: 'PoolUnusable', message: poolUnusable.message }],
    ],
    [
      'a denied request',
      { request: { status: { conditions: [denied] } } },
      [{ state: 'denied', reason: denied.reason, message: denied.message }],
    ],
    [
      'no name, because no registration selects it',
      { flags: ['--default-identity', 'none'] },
      [{ state: 'unnamed', names: [], reason: 'NotRegistered' }],
    ],
    [
      'a name by a registration',
      { registrations: [aRegistration('web')] },
      [{ state: 'named', registration: 'shop/web' }],
    ],
  ];
  for (const [what, read, expected] of rows) {
    it(`a pod is shown with ${what}`, async () => {
      const found = workloadsOf(await aRead(read));
      assert.equal(found.length, expected.length);
      assert.partialDeepStrictEqual(found, expected);
    });
  }
});

it('a pod with an answered and a waiting request is shown as waiting', async () => {
  const read = await aRead({ request: {} });
  const [open] = read.requests;
  assert.ok(open);
  const denial = { ...open.wire, metadata: { ...open.wire.metadata, name: 'req-0' } };
  const refused = { ...denial, status: { conditions: [denied] } };
  const stuck = { ...open.wire, spec: { ...open.wire.spec, nodeName: 'node-2' } };
  for (const wires of [
    [refused, stuck],
    [stuck, refused],
  ]) {
    const requests = wires.map((wire): ReadRequest => ({ wire, version: 'v1' }));
    const [found] = workloadsOf({ ...read, requests });
    assert.deepEqual([found?.state, found?.reason], ['waiting', 'NodeMismatch']);
  }
});

describe('a running pod whose registration was broken after it got its certificate', () => {
  const issued = { ...denied, type: 'Issued', reason: 'Issued', message: '' };
  const aRunning = async (podUID = 'u-1') => {
    const now = Date.parse('2026-11-29T10:00:00Z') / 1000;
    const { certificate = '' } = await createAuthority({ id: 'ca-1', trustDomain: 'example.org', now });
    const read = await aRead({
      flags: ['--default-identity', 'none'],
      request: { status: { conditions: [issued], certificateChain: certificate } },
    });
    const requests = read.requests.map(({ wire, version }) => ({
      wire: { ...wire, spec: { ...wire.spec, podUID } },
      version,
    }));
    return { ...read, requests };
  };
  const explained = ({ world, requests }: ClusterRead) =>
    explainWholePod(world, 'shop/web-0', aKnownPod(), { requests, events: [] }).signers[0];
  const kept = / The pod keeps its certificate until 2027-11-29T10:00:00Z\. Its next renewal waits\.$/;

  it('a pod with a broken registration has no name since an unknown time, and keeps its certificate until it expires', async () => {
    const [found] = workloadsOf(await aRunning());
    assert.deepEqual([found?.state, found?.reason, found?.requestedAt], ['unnamed', 'NotRegistered', null]);
    assert.match(found?.message ?? '', kept);
  });

  it('a pod with a broken registration is explained with the same words, and does not wait yet', async () => {
    const spiffe = explained(await aRunning());
    assert.ok(spiffe);
    assert.equal(spiffe.keepsUntil, '2027-11-29T10:00:00Z');
    assert.match(spiffe.verdict.message, kept);
    const said: string[] = [];
    printVerdict({ ...terminal, out: (text) => said.push(text) }, spiffe.verdict, spiffe.keepsUntil);
    assert.match(said.join(''), /^ {2}=> {2}gives no name: NotRegistered {2}\[pod author\]/);
  });

  it('a pod is not confused with the pod of the same name that it replaced', async () => {
    const spiffe = explained(await aRunning('u-0'));
    assert.deepEqual([spiffe?.verdict.reason, spiffe?.keepsUntil], ['NotRegistered', null]);
  });
});

describe('a search over workloads', () => {
  const workload = fc.record({
    pod: fc.constantFrom('shop/web-0', 'shop/api-0', 'bank/web-0'),
    ...{ node: fc.constant('node-1'), serviceAccount: fc.constant('web'), signer: fc.constant('s') },
    ...{ volume: fc.constant(null), names: fc.constant([id]), registration: fc.constant(null) },
    ...{ state: fc.constantFrom(...workloadStates), reason: fc.constant(null), message: fc.constant(null) },
    ...{ requestedAt: fc.constant(null), certificate: fc.constant(null) },
  });

  it('a search over workloads pages through all results, once each, and counts them by state', () => {
    fc.assert(
      fc.property(
        fc.array(workload, { maxLength: 350 }),
        fc.constantFrom('', 'shop', 'WEB shop'),
        (all, q) => {
          const pages = [0, 100, 200, 300].map((from) =>
            foundIn(all, new URLSearchParams({ q, from: `${from}` })),
          );
          const rows = pages.flatMap((page) => page.rows);
          const words = q.toLowerCase().split(' ');
          assert.deepEqual(
            rows,
            all.filter(({ pod, names }) => words.every((word) => `${pod} ${names} web`.includes(word))),
          );
          for (const state of workloadStates) {
            assert.equal(pages[0]?.counts[state], rows.filter((row) => row.state === state).length);
          }
        },
      ),
    );
  });
});

it('the view reveals nothing of the API server to a caller whose token cannot be checked', async () => {
  const api = createScriptedApi();
  api.answer = () => ({ status: 403, body: { message: 'system:serviceaccount:kubespiffe:view may not' } });
  const said: string[] = [];
  const now = () => performance.now();
  const admit = reviewAdmission(api.transport, 'view', now, (error) => said.push(messageOf(error)));
  const server = createUiServer({ files: new Map(), answers: {}, admit }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/overview`;
    const response = await fetch(url, { headers: { authorization: 'Bearer none' } });
    assert.equal(response.status, 502);
    assert.deepEqual(await response.json(), {
      error: 'the token could not be checked',
      hint: 'the log of the view has the reason',
    });
    assert.match(said.join(), /kubespiffe:view may not/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

describe('reads of the view', () => {
  it('reading the view again and again needs one look at the clock of the API server', async () => {
    const { transport } = createScriptedApi();
    const listeners: number[] = [];
    const api = { ...transport, onDate: () => void listeners.push(1) };
    const { overview } = clusterAnswers(api, terminal, { signerDeployment: 'kubespiffe/kubespiffe' });
    for (let read = 0; read < 3; read += 1)
      await assert.rejects(async () => overview?.(new URLSearchParams()));
    assert.equal(listeners.length, 1);
  });

  it('the view is read again when it is 5 s old, by one reader at a time', async () => {
    let now = 0;
    let reads = 0;
    const latest = createLatest(
      async () => ++reads,
      () => now,
    );
    assert.deepEqual(await Promise.all([latest(), latest()]), [1, 1]);
    now = 4_999;
    assert.equal(await latest(), 1);
    now = 5_000;
    assert.equal(await latest(), 2);
  });

  it('the view spends at most a tenth of the time on reading', async () => {
    let now = 0;
    let reads = 0;
    const latest = createLatest(
      async () => {
        now += 3_000;
        return ++reads;
      },
      () => now,
    );
    await latest();
    now = 32_999;
    assert.equal(await latest(), 1);
    now = 33_000;
    assert.equal(await latest(), 2);
  });

  it('the view is read again at once after a failure', async () => {
    let reads = 0;
    const latest = createLatest(
      async () => {
        reads += 1;
        if (reads === 1) throw new Error('the API server is away');
        return reads;
      },
      () => 0,
    );
    await assert.rejects(latest());
    assert.equal(await latest(), 2);
  });
});
