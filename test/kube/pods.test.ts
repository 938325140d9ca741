import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type PodFacts, readPod, toPodFacts } from '../../signer/kube/pods.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { type Answer, createScriptedApi } from './scripted-api.ts';

const facts: PodFacts = { uid: 'u', nodeName: 'node-1', serviceAccountName: 'web', finished: undefined };
const wire = (phase: string): Pod => ({
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u' },
  spec: { nodeName: 'node-1', serviceAccountName: 'web' },
  status: { phase },
});

describe('what is kept of a pod', () => {
  const cases: [name: string, pod: Pod, kept: PodFacts][] = [
    ['all that it is held against', wire('Running'), facts],
    ['that it has finished', wire('Succeeded'), { ...facts, finished: 'Succeeded' }],
    [
      'the default of what is not said',
      { metadata: { name: 'bare', uid: 'u' } },
      { uid: 'u', nodeName: '', serviceAccountName: 'default', finished: undefined },
    ],
    [
      'when it is deleted, in seconds',
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
      'that it is deleted, at a time that cannot be read: it counts as past',
      { metadata: { name: 'going', uid: 'u', deletionTimestamp: 'soon' } },
      { uid: 'u', nodeName: '', serviceAccountName: 'default', finished: undefined, deletesAt: 0 },
    ],
  ];
  for (const [name, pod, kept] of cases) {
    it(name, () => assert.deepEqual(toPodFacts(pod), kept));
  }
});

describe('a pod that is read live', () => {
  const details = { name: 'web-0', kind: 'pods' };
  const rows: [name: string, answer: Answer, kind: string][] = [
    ['is what the server says', { status: 200, body: wire('Running') }, 'found'],
    [
      'is gone by a 404 that names it',
      { status: 404, body: { kind: 'Status', reason: 'NotFound', details } },
      'gone',
    ],
    ['is not gone by a 404 that does not', { status: 404 }, 'unavailable'],
    ['is not known when reading is forbidden', { status: 403 }, 'unavailable'],
    ['is not known when the server does not answer', 'broken', 'unavailable'],
  ];
  for (const [name, answer, kind] of rows) {
    it(name, async () => {
      const api = createScriptedApi();
      api.answer = () => answer;
      const lookup = await readPod(api.transport, { namespace: 'shop', name: 'web-0' }, {});
      assert.equal(lookup.kind, kind);
      if (lookup.kind === 'found') assert.deepEqual(lookup.pod, facts);
      assert.deepEqual(
        api.requests.map(({ method, path }) => `${method} ${path}`),
        ['GET /api/v1/namespaces/shop/pods/web-0'],
      );
    });
  }

  it('cannot be another path, whatever its name', async () => {
    const api = createScriptedApi();
    api.answer = () => ({ status: 403 });
    await readPod(api.transport, { namespace: '../x', name: 'y/../../secrets?z' }, {});
    assert.deepEqual(
      api.requests.map(({ path }) => path),
      ['/api/v1/namespaces/..%2Fx/pods/y%2F..%2F..%2Fsecrets%3Fz'],
    );
  });
});
