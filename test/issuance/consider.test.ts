import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify } from '../../signer/identity/identify.ts';
import { type ConsiderNeeds, consider } from '../../signer/issuance/consider.ts';
import type { OpenRequest } from '../../signer/issuance/request.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { CertificatesVersion } from '../../signer/kube/types.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';
import { anOpenRequest, aPod, aSupportedKey } from './examples.ts';

const base64 = Buffer.from(aSupportedKey.spki).toString('base64');
const readable = anOpenRequest({ key: { form: 'spki', base64 } });
/** As v1 shows the request of a kubelet that is older than the field. */
const withoutKey = anOpenRequest({ key: { form: 'none' } });

const annotations = { 'kubespiffe.io/registration': 'web' };

const podPath = '/api/v1/namespaces/shop/pods/web-0';
const betaPath = '/apis/certificates.k8s.io/v1beta1/namespaces/shop/podcertificaterequests/req-1';

const notFound: Answer = {
  status: 404,
  body: { kind: 'Status', reason: 'NotFound', message: 'not found', details: { kind: 'x', name: 'x' } },
};
const livePod: Answer = {
  status: 200,
  body: {
    metadata: { name: 'web-0', uid: 'pod-uid' },
    spec: { nodeName: 'node-1', serviceAccountName: 'web' },
  },
};
const throughBeta = ({ uid = withoutKey.uid, conditions = [] as object[], spec = {} } = {}): Answer => ({
  status: 200,
  body: {
    metadata: { uid, namespace: 'shop', name: 'req-1' },
    spec: {
      signerName: 'kubespiffe.io/spiffe',
      podName: 'web-0',
      podUID: 'pod-uid',
      serviceAccountName: 'web',
      nodeName: 'node-1',
      pkixPublicKey: base64,
      ...spec,
    },
    status: { conditions },
  },
});

interface Row {
  readonly name: string;
  readonly request: OpenRequest;
  readonly cached?: PodFacts;
  readonly served?: readonly CertificatesVersion[];
  readonly server?: Readonly<Record<string, Answer>>;
  readonly expected: string;
  readonly reads: readonly string[];
}

const v1Alone: readonly CertificatesVersion[] = ['v1'];

/** What is decided, and what was read for it: in the steady state nothing. */
const rows: readonly Row[] = [
  { name: 'a pod in the cache', request: readable, cached: aPod(), expected: 'issue', reads: [] },
  {
    name: 'the predecessor of the pod in the cache',
    request: readable,
    cached: aPod({ uid: 'predecessor' }),
    server: { [podPath]: livePod },
    expected: 'issue',
    reads: [podPath],
  },
  {
    name: 'a pod without a node in the cache',
    request: readable,
    cached: aPod({ nodeName: '' }),
    server: { [podPath]: livePod },
    expected: 'issue',
    reads: [podPath],
  },
  {
    name: 'a pod that is gone',
    request: readable,
    server: { [podPath]: notFound },
    expected: 'drop PodGone',
    reads: [podPath],
  },
  {
    name: 'a pod that cannot be read',
    request: readable,
    server: { [podPath]: 'broken' },
    expected: 'wait PodNotVisible',
    reads: [podPath],
  },
  {
    name: 'a request that is refused for its own content, with any pod',
    request: { ...readable, annotationProblem: 'a' },
    expected: 'deny InvalidUnverifiedUserAnnotations',
    reads: [],
  },
  {
    name: 'a request that v1 shows without its key, where v1beta1 shows it',
    request: withoutKey,
    cached: aPod(),
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: throughBeta() },
    expected: 'issue',
    reads: [betaPath],
  },
  {
    name: 'a request that v1 shows without its key, with an annotation that the signer knows',
    request: { ...withoutKey, annotations },
    cached: aPod(),
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: throughBeta({ spec: { unverifiedUserAnnotations: annotations } }) },
    expected: 'issue',
    reads: [betaPath],
  },
  {
    name: 'a request that v1 shows without its key, with an annotation that the signer refuses',
    request: { ...withoutKey, annotationProblem: 'a' },
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: throughBeta({ spec: { unverifiedUserAnnotations: { a: 'b' } } }) },
    expected: 'deny InvalidUnverifiedUserAnnotations',
    reads: [betaPath],
  },
  {
    name: 'a request that v1 shows without its key, where v1beta1 is not served',
    request: withoutKey,
    cached: aPod(),
    expected: 'wait KeyNotVisible',
    reads: [],
  },
  {
    name: 'a request without a key that v1beta1 knows as another one',
    request: withoutKey,
    cached: aPod(),
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: throughBeta({ uid: 'another' }) },
    expected: 'nothing',
    reads: [betaPath],
  },
  {
    name: 'a request without a key that was answered meanwhile',
    request: withoutKey,
    cached: aPod(),
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: throughBeta({ conditions: [{ type: 'Issued' }] }) },
    expected: 'nothing',
    reads: [betaPath],
  },
  {
    name: 'a request without a key that cannot be read through v1beta1',
    request: withoutKey,
    cached: aPod(),
    served: ['v1', 'v1beta1'],
    server: { [betaPath]: 'broken' },
    expected: 'wait KeyNotVisible',
    reads: [betaPath],
  },
];

describe('considering a request', () => {
  for (const { name, request, cached, served = v1Alone, server = {}, expected, reads } of rows) {
    it(`the decision is "${expected}" for ${name}`, async () => {
      const pods = createStore<PodFacts>({ time: realTime });
      if (cached) pods.set('shop/web-0', cached);
      const api = createScriptedApi();
      api.answer = ({ path }) => server[path] ?? assert.fail(`${path} was not to be read`);
      const needs: ConsiderNeeds = {
        pods,
        transport: api.transport,
        servedVersions: () => served,
        identify: (pod) => identify(pod, { trustDomain: 'example.org' }),
      };
      const considered = await consider(request, needs, new AbortController().signal);
      assert.deepEqual(
        api.requests.map(({ path }) => path),
        reads,
      );
      if (!considered) return assert.equal('nothing', expected);
      const { decision, request: read } = considered;
      assert.equal('reason' in decision ? `${decision.kind} ${decision.reason}` : decision.kind, expected);
      if (decision.kind === 'issue') {
        assert.equal(decision.subject.display, 'spiffe://example.org/ns/shop/sa/web');
        assert.deepEqual(read.annotations, request.annotations);
        assert.equal(read.version, reads.includes(betaPath) ? 'v1beta1' : 'v1');
      }
    });
  }
});
