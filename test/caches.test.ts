import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { requestFields, toCertificateRequest } from '../signer/issuance/request.ts';
import { createJsonReader, type Fields } from '../signer/kube/json-reader.ts';
import { podFields, toPodFacts } from '../signer/kube/pods.ts';
import { bundleFields, toObservedBundle } from '../signer/trust/bundle.ts';
import {
  configMapFields,
  namespaceFields,
  toObservedConfigMap,
  toOptedIn,
} from '../signer/trust/roots-configmap.ts';

/** Every member of an object that a projection could use has a value here. */
const metadata = {
  name: 'a',
  namespace: 'shop',
  uid: 'u',
  resourceVersion: '7',
  creationTimestamp: '2026-11-22T12:00:00Z',
  deletionTimestamp: '2026-11-22T12:00:30Z',
  labels: { 'app.kubernetes.io/managed-by': 'kubespiffe', other: 'x' },
  annotations: { 'kubespiffe.io/sequence': '3' },
  managedFields: [
    { manager: 'signer-a', operation: 'Update', subresource: 'status', fieldsV1: { 'f:a': {} } },
  ],
};
const request = {
  metadata,
  spec: {
    signerName: 'kubespiffe.io/spiffe',
    podName: 'web-0',
    podUID: 'p',
    serviceAccountName: 'web',
    serviceAccountUID: 's',
    nodeName: 'node-1',
    nodeUID: 'n',
    maxExpirationSeconds: 3600,
    stubPKCS10Request: 'AAAA',
    unverifiedUserAnnotations: { 'example.org/a': 'x' },
  },
};
const condition = { type: 'Issued', status: 'True', reason: 'Issued', message: 'm', lastTransitionTime: 't' };

const resources: [name: string, fields: Fields, project: (raw: never) => unknown, object: object][] = [
  ['an open request', requestFields, (raw) => toCertificateRequest(raw, 'v1'), request],
  [
    'an answered request',
    requestFields,
    (raw) => toCertificateRequest(raw, 'v1'),
    { ...request, status: { conditions: [condition], certificateChain: 'PEM' } },
  ],
  [
    'a pod',
    podFields,
    toPodFacts,
    { metadata, spec: { nodeName: 'n', serviceAccountName: 'web' }, status: { phase: 'Failed' } },
  ],
  ['a ClusterTrustBundle', bundleFields, toObservedBundle, { metadata, spec: { trustBundle: 'PEM' } }],
  ['a namespace', namespaceFields, toOptedIn, { metadata, status: { phase: 'Terminating' } }],
  [
    'a ConfigMap',
    configMapFields,
    toObservedConfigMap,
    { metadata, data: { 'roots.pem': 'PEM' }, binaryData: { more: 'AA==' } },
  ],
];

describe('what is read of a resource that is followed', () => {
  for (const [name, fields, project, object] of resources) {
    it(`is all that is kept of it: ${name}`, () => {
      const reader = createJsonReader(fields);
      reader.push(Buffer.from(JSON.stringify(object)));
      assert.deepEqual(project(reader.end() as never), project(object as never));
    });
  }
});
