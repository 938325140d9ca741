import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lookUpPod, type PodFacts, podReaderOf } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { type Answer, createScriptedApi } from './scripted-api.ts';

const facts: PodFacts = { uid: 'u', nodeName: 'node-1', serviceAccountName: 'web', finished: undefined };
const wire = (phase: string): Pod => ({
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u' },
  spec: { nodeName: 'node-1', serviceAccountName: 'web' },
  status: { phase },
});

describe('the facts of a pod', () => {
  const cases: [name: string, pod: Pod, kept: PodFacts][] = [
    ['are those that a request must match', wire('Running'), facts],
    ['say that it has finished', wire('Succeeded'), { ...facts, finished: 'Succeeded' }],
    [
      'have defaults for missing fields',
      { metadata: { name: 'bare', uid: 'u' } },
      { uid: 'u', nodeName: '', serviceAccountName: 'default', finished: undefined },
    ],
    [
      'have the labels and annotations that select and name it',
      {
        metadata: {
          name: 'web-0',
          uid: 'u',
          labels: { app: 'web' },
          annotations: { team: 'shop', other: 'x' },
        },
        spec: { hostname: 'web-0', subdomain: 'web' },
      },
      {
        uid: 'u',
        nodeName: '',
        serviceAccountName: 'default',
        finished: undefined,
        labels: { app: 'web' },
        annotations: { team: 'shop' },
        hostname: 'web-0',
        subdomain: 'web',
      },
    ],
    [
      'have the time of its deletion, in seconds',
      { metadata: { name: 'going', uid: 'u', deletionTimestamp: '2026-11-25T12:00:30Z' } },
      {
        uid: 'u',
        nodeName: '',
        serviceAccountName: 'default',
        finished: undefined,
        deletesAt: Date.UTC(2026, 10, 25, 12, 0, 30) / 1000,
      },
    ],
    [
      'have a deletion in the past if its time cannot be read',
      { metadata: { name: 'going', uid: 'u', deletionTimestamp: 'soon' } },
      { uid: 'u', nodeName: '', serviceAccountName: 'default', finished: undefined, deletesAt: 0 },
    ],
  ];
  for (const [name, pod, kept] of cases) {
    it(`the facts of a pod ${name}`, () => assert.deepEqual(podReaderOf(['team']).toFacts(pod), kept));
  }
});

describe('the podCertificate sources of a pod', () => {
  const signerName = 'kubespiffe.io/service-dns';
  const sourcesOf = (sources: unknown, phase = 'Running') => {
    const volumes = [
      { name: 'a', emptyDir: {} },
      { name: 'b', projected: { sources } },
    ];
    const pod = { metadata: { name: 'web-0', uid: 'u' }, spec: { volumes }, status: { phase } };
    const { certificateSources, isRunning } = podReaderOf([], [signerName]).toFacts(pod as Pod);
    return { certificateSources, isRunning };
  };
  const chosen = { signerName, userAnnotations: { a: 'x'.repeat(8_190) } };
  const cases: [name: string, sources: unknown, kept: unknown][] = [
    [
      'are kept for the signers that ask for them',
      [{ podCertificate: { signerName } }, { podCertificate: chosen }],
      [{ signerName, userAnnotations: {} }, chosen],
    ],
    [
      'are not kept for other signers',
      [{ podCertificate: { signerName: 'kubespiffe.io/spiffe' } }],
      undefined,
    ],
    ['are not kept of a volume without sources', null, undefined],
    [
      'are not kept with more than 8 KiB of annotations',
      [{ podCertificate: { ...chosen, userAnnotations: { a: 'x'.repeat(8_191) } } }],
      undefined,
    ],
  ];
  for (const [name, sources, kept] of cases) {
    it(`podCertificate sources ${name}`, () => {
      assert.deepEqual(sourcesOf(sources), { certificateSources: kept, isRunning: kept && true });
    });
  }

  it('podCertificate sources are kept together with whether the pod runs', () => {
    const { certificateSources, isRunning } = sourcesOf([{ podCertificate: { signerName } }], 'Pending');
    assert.deepEqual([certificateSources?.length, isRunning], [1, undefined]);
  });

  it('podCertificate sources are not read if no signer asks for them', () => {
    const { fields } = podReaderOf();
    assert.ok(typeof fields === 'object' && !('volumes' in (fields.spec as object)));
  });
});

const named = {
  namespace: 'shop',
  podName: 'web-0',
  podUID: 'u',
  serviceAccountName: 'web',
  nodeName: 'node-1',
};
const aPod = (different: Partial<PodFacts> = {}): PodFacts => ({ ...facts, ...different });

/** The pod of the request as the API server sends it. */
function wirePod(different: Partial<PodFacts> = {}): Pod {
  const { uid, nodeName, serviceAccountName, finished } = aPod(different);
  return {
    metadata: { name: named.podName, namespace: named.namespace, uid },
    spec: { nodeName, serviceAccountName },
    status: { phase: finished ?? 'Running' },
  };
}

const live = (different?: Partial<PodFacts>): Answer => ({ status: 200, body: wirePod(different) });
const noSuchPod: Answer = {
  status: 404,
  body: {
    kind: 'Status',
    reason: 'NotFound',
    message: 'not found',
    details: { kind: 'pods', name: 'web-0' },
  },
};

describe('the pod that a request or credential names', () => {
  const rows: [
    name: string,
    cached: PodFacts | undefined,
    server: Answer,
    expected: { kind: 'found'; pod: PodFacts } | { kind: 'gone' | 'unavailable' },
    reads: number,
  ][] = [
    ['comes from the cache that agrees', aPod(), noSuchPod, { kind: 'found', pod: aPod() }, 0],
    [
      'comes from the cache even when it has finished',
      aPod({ finished: 'Failed' }),
      live(),
      { kind: 'found', pod: aPod({ finished: 'Failed' }) },
      0,
    ],
    ['is read when the cache has none', undefined, live(), { kind: 'found', pod: aPod() }, 1],
    [
      'is read when the cache has an older pod of the same name',
      aPod({ uid: 'predecessor' }),
      live(),
      { kind: 'found', pod: aPod() },
      1,
    ],
    ['is read when the cache has no node', aPod({ nodeName: '' }), live(), { kind: 'found', pod: aPod() }, 1],
    [
      'is read when the cache has another ServiceAccount',
      aPod({ serviceAccountName: 'other' }),
      live(),
      { kind: 'found', pod: aPod() },
      1,
    ],
    [
      'is what was read, although that does not agree either: read once, not again',
      aPod({ uid: 'predecessor' }),
      live({ uid: 'successor' }),
      { kind: 'found', pod: aPod({ uid: 'successor' }) },
      1,
    ],
    [
      'is gone when the server reports that, with anything in the cache',
      aPod({ nodeName: '' }),
      noSuchPod,
      { kind: 'gone' },
      1,
    ],
    ['is not known when the server does not answer', undefined, 'broken', { kind: 'unavailable' }, 1],
    ['is not known when reading is forbidden', undefined, { status: 403 }, { kind: 'unavailable' }, 1],
    ['is not gone by a 404 that does not name it', undefined, { status: 404 }, { kind: 'unavailable' }, 1],
  ];
  for (const [name, cached, server, expected, reads] of rows) {
    it(`the pod of a request ${name}`, async () => {
      const pods = createStore<PodFacts>({ time: realTime });
      if (cached) pods.set('shop/web-0', cached);
      const api = createScriptedApi();
      api.answer = () => server;
      const lookup = await lookUpPod(named, { cache: pods, transport: api.transport }, {});
      assert.equal(lookup.kind, expected.kind);
      if (expected.kind === 'found') assert.deepEqual(lookup, expected);
      assert.deepEqual(
        api.requests.map(({ method, path }) => `${method} ${path}`),
        Array(reads).fill('GET /api/v1/namespaces/shop/pods/web-0'),
      );
    });
  }

  it('a pod comes from the cache when no node is named', async () => {
    const { nodeName: _, ...withoutNode } = named;
    const pods = createStore<PodFacts>({ time: realTime });
    pods.set('shop/web-0', aPod({ nodeName: 'node-2' }));
    const api = createScriptedApi();
    const lookup = await lookUpPod(withoutNode, { cache: pods, transport: api.transport }, {});
    assert.deepEqual(lookup, { kind: 'found', pod: aPod({ nodeName: 'node-2' }) });
  });

  it('a pod is read live when there is no cache', async () => {
    const api = createScriptedApi();
    api.answer = () => live();
    const lookup = await lookUpPod(named, { cache: undefined, transport: api.transport }, {});
    assert.deepEqual(lookup, { kind: 'found', pod: aPod() });
  });

  it('a pod is read at its own path, with any name', async () => {
    const api = createScriptedApi();
    api.answer = () => ({ status: 403 });
    const odd = { ...named, namespace: '../x', podName: 'y/../../secrets?z' };
    await lookUpPod(odd, { cache: undefined, transport: api.transport }, {});
    assert.deepEqual(
      api.requests.map(({ path }) => path),
      ['/api/v1/namespaces/..%2Fx/pods/y%2F..%2F..%2Fsecrets%3Fz'],
    );
  });
});
