import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type CertificateRequest, requestKey, requestsOf } from '../../signer/issuance/request.ts';
import { createJsonReader } from '../../signer/kube/json-reader.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

const signerName = 'kubespiffe.io/spiffe';
const spec = requestsOf(signerName, undefined);

/** A request that a replica has answered, as the API server sends it and the informer reads it. */
function readAnswered(index: number): CertificateRequest {
  const request = {
    metadata: {
      ...{ name: `req-${randomUUID()}`, namespace: `shop-${index % 500}`, uid: randomUUID() },
      resourceVersion: String(10_000_000 + index),
      managedFields: [{ manager: 'kubespiffe-signer-6c9d7b5f4-x2x9k', subresource: 'status' }],
    },
    spec: { signerName, podName: 'web', podUID: randomUUID(), stubPKCS10Request: 'A'.repeat(400) },
    status: { conditions: [{ type: 'Issued', status: 'True', reason: 'Issued' }] },
  };
  const reader = createJsonReader(spec.fields);
  reader.push(Buffer.from(JSON.stringify(request)));
  return spec.project(reader.end() as never, 'v1') ?? assert.fail('it is kept');
}

test('an answered request takes at most 500 bytes in the store, until Kubernetes deletes it', (t) => {
  const count = 10_000;
  const before = heapUsed();
  const store = createStore<CertificateRequest>({
    time: realTime,
    ...(spec.indexes && { indexes: spec.indexes }),
  });
  for (let each = 0; each < count; each += 1) {
    const request = readAnswered(each);
    store.set(requestKey(request), request);
  }
  const bytes = (heapUsed() - before) / count;
  t.diagnostic(`${bytes.toFixed(0)} bytes`);
  assert.ok(bytes <= 500, `${bytes.toFixed(0)} bytes`);
  assert.equal(store.size, count);
});
