import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lookUpPod } from '../../signer/issuance/pods.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';
import { anOpenRequest, aPod } from './examples.ts';

const request = anOpenRequest();

/** The pod of the request as the API server sends it. */
function wirePod(different: Partial<PodFacts> = {}): Pod {
  const { uid, nodeName, serviceAccountName, finished } = aPod(different);
  return {
    metadata: { name: request.podName, namespace: request.namespace, uid },
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

describe('the pod of a request', () => {
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
      'is read when the cache has its predecessor',
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
      'is gone when the server says so, whatever the cache has',
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
    it(name, async () => {
      const pods = createStore<PodFacts>();
      if (cached) pods.set('shop/web-0', cached);
      const api = createScriptedApi();
      api.answer = () => server;
      const { signal } = new AbortController();
      const lookup = await lookUpPod(request, { pods, transport: api.transport, signal });
      assert.equal(lookup.kind, expected.kind);
      if (expected.kind === 'found') assert.deepEqual(lookup, expected);
      assert.deepEqual(
        api.requests.map(({ method, path }) => `${method} ${path}`),
        Array(reads).fill('GET /api/v1/namespaces/shop/pods/web-0'),
      );
    });
  }
});
