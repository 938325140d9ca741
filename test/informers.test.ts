import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  allFederatedTrustDomains,
  followedTrustDomains,
} from '../signer/federation/federated-trust-domain.ts';
import { registrationSpecs } from '../signer/identity/registration-specs.ts';
import { requestsOf } from '../signer/issuance/request.ts';
import type { InformerSpec } from '../signer/kube/informer.ts';
import { createJsonReader } from '../signer/kube/json-reader.ts';
import { allPods, podReaderOf } from '../signer/kube/pods.ts';
import { allServices } from '../signer/kube/services.ts';
import { bundlesOf } from '../signer/trust/bundle.ts';
import { configMapsNamed, optedInNamespaces } from '../signer/trust/roots-configmap.ts';

/** Every member of an object that a projection could use has a value here. */
const metadata = {
  name: 'a',
  namespace: 'shop',
  generation: 3,
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

const registrations = registrationSpecs({ clusterName: 'eu', podAnnotations: ['example.org/team'] });
const registration = {
  metadata,
  spec: {
    podSelector: {
      matchLabels: { app: 'web' },
      matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }],
    },
    spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/web',
    audiences: ['https://*'],
  },
  status: { observedGeneration: 3, conditions: [condition], failures: [{ pod: 'shop/web-0' }] },
};

const requests = requestsOf('kubespiffe.io/spiffe', undefined);
const resources: [
  name: string,
  spec: Pick<InformerSpec<never, unknown, 'v1'>, 'fields' | 'project'>,
  object: object,
][] = [
  ['an open request', requests, request],
  [
    'an answered request',
    requests,
    { ...request, status: { conditions: [condition], certificateChain: 'PEM' } },
  ],
  [
    'a pod',
    allPods(),
    { metadata, spec: { nodeName: 'n', serviceAccountName: 'web' }, status: { phase: 'Failed' } },
  ],
  [
    'a pod with a certificate of a signer that reads sources',
    allPods(podReaderOf(['kubespiffe.io/sequence'], ['kubespiffe.io/service-dns'])),
    {
      metadata,
      spec: {
        volumes: [
          { name: 'none' },
          {
            name: 'certificate',
            projected: {
              defaultMode: 420,
              sources: [
                { downwardAPI: {} },
                {
                  podCertificate: {
                    signerName: 'kubespiffe.io/service-dns',
                    keyType: 'ECDSAP256',
                    userAnnotations: { 'kubespiffe.io/services': 'web' },
                  },
                },
              ],
            },
          },
        ],
      },
      status: { phase: 'Running' },
    },
  ],
  [
    'a Service',
    allServices,
    {
      metadata,
      spec: { type: 'ClusterIP', clusterIP: 'None', clusterIPs: ['None'], selector: { app: 'web' } },
    },
  ],
  ['a WorkloadRegistration', registrations.workload, registration],
  ['a ClusterWorkloadRegistration', registrations.cluster, registration],
  [
    'a ClusterRegistrationPolicy',
    registrations.policies,
    {
      metadata,
      spec: { grants: [{ namespaces: ['shop'], pathPrefixes: ['/a/'], dnsNames: ['a.b'] }] },
      status: { trustDomains: [{ className: 'blue', trustDomain: 'example.org' }] },
    },
  ],
  ['a namespace with its labels', registrations.namespaces, { metadata, status: { phase: 'Active' } }],
  ['a ClusterTrustBundle', bundlesOf('kubespiffe.io/spiffe'), { metadata, spec: { trustBundle: 'PEM' } }],
  [
    'a FederatedTrustDomain',
    allFederatedTrustDomains,
    {
      metadata: { ...metadata, annotations: { 'kubespiffe.io/refresh': 'now' } },
      spec: { trustDomain: 'partner.example', bundle: '{}', refreshHint: { min: '1m' } },
      status: { sequence: 3, conditions: [condition] },
    },
  ],
  [
    'a FederatedTrustDomain of the signer',
    followedTrustDomains(() => undefined),
    {
      metadata: { ...metadata, annotations: { 'kubespiffe.io/refresh': 'now', other: 'x' } },
      spec: { trustDomain: 'partner.example', bundle: '{}', refreshHint: { min: '1m' } },
      status: { sequence: 3, bundle: '{}', nextAttemptTime: 't', conditions: [condition] },
    },
  ],
  ['a namespace', optedInNamespaces, { metadata, status: { phase: 'Terminating' } }],
  [
    'a ConfigMap',
    configMapsNamed('kubespiffe-roots'),
    { metadata, data: { 'roots.pem': 'PEM' }, binaryData: { more: 'AA==' } },
  ],
];

describe('fields that are read of a followed resource', () => {
  for (const [name, { fields, project }, object] of resources) {
    it(`the fields that are read are all that is kept: ${name}`, () => {
      const reader = createJsonReader(fields);
      reader.push(Buffer.from(JSON.stringify(object)));
      assert.deepEqual(project(reader.end() as never, 'v1'), project(object as never, 'v1'));
    });
  }
});
