import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createJsonReader } from '../../signer/kube/json-reader.ts';
import { allPods, type PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Pod } from '../../signer/kube/types.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

const spec = allPods();

/** A pod of a Deployment with ten replicas, as the API server sends it and the informer reads it. */
function read(index: number, hasOwnLabel: boolean): readonly [key: string, pod: PodFacts] {
  const app = `web-${Math.floor(index / 10)}`;
  const name = `${app}-5d9c8b7f6-${index.toString(36).padStart(5, 'x')}`;
  const pod = {
    metadata: {
      ...{ name, namespace: 'shop', uid: randomUUID(), resourceVersion: String(10_000_000 + index) },
      labels: {
        'app.kubernetes.io/name': app,
        'app.kubernetes.io/instance': hasOwnLabel ? name : 'shop',
        'app.kubernetes.io/component': 'server',
        'app.kubernetes.io/managed-by': 'Helm',
        'pod-template-hash': '5d9c8b7f6',
      },
    },
    spec: { nodeName: `node-${index % 100}`, serviceAccountName: app },
    status: { phase: 'Running' },
  };
  const reader = createJsonReader(spec.fields);
  reader.push(Buffer.from(JSON.stringify(pod)));
  const facts = spec.project(reader.end() as Pod, 'v1');
  assert.ok(facts);
  return [`shop/${name}`, facts];
}

for (const [what, hasOwnLabel] of [
  ['a pod with the five labels of its Deployment', false],
  ['a pod with five labels, one of which no other pod has', true],
] as const) {
  test(`${what} takes at most 900 bytes, in the store and in the index of labels`, (t) => {
    const count = 10_000;
    const before = heapUsed();
    const store = createStore<PodFacts>({ time: realTime, ...(spec.indexes && { indexes: spec.indexes }) });
    for (let each = 0; each < count; each += 1) store.set(...read(each, hasOwnLabel));
    const bytes = (heapUsed() - before) / count;
    t.diagnostic(`${bytes.toFixed(0)} bytes`);
    assert.ok(bytes <= 900, `${bytes.toFixed(0)} bytes`);
    assert.equal(store.size, count);
  });
}
