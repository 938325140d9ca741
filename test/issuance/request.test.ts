import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { readRequestKey, toCertificateRequest } from '../../signer/issuance/request.ts';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';

const wire: PodCertificateRequest & { metadata: { managedFields?: object[] } } = {
  metadata: {
    name: 'req-1',
    namespace: 'shop',
    uid: 'request-uid',
    creationTimestamp: '2026-11-22T12:00:00Z',
  },
  spec: {
    signerName: 'kubespiffe.io/spiffe',
    podName: 'web-0',
    podUID: 'pod-uid',
    serviceAccountName: 'web',
    serviceAccountUID: 'service-account-uid',
    nodeName: 'node-1',
    nodeUID: 'node-uid',
    maxExpirationSeconds: 3600,
    stubPKCS10Request: 'AAAA',
  },
};

const withSpec = (spec: Partial<PodCertificateRequest['spec']>) =>
  toCertificateRequest({ ...wire, spec: { ...wire.spec, ...spec } }, 'v1beta1', undefined);

describe('a PodCertificateRequest as we keep it', () => {
  it('a PodCertificateRequest has one form for both API versions', () => {
    const request = toCertificateRequest(wire, 'v1', undefined);
    assert.partialDeepStrictEqual(request, {
      uid: 'request-uid',
      namespace: 'shop',
      name: 'req-1',
      answered: undefined,
      podName: 'web-0',
      maxExpirationSeconds: 3600,
      key: { form: 'pkcs10', base64: 'AAAA' },
      annotations: {},
      annotationProblem: undefined,
      version: 'v1',
    });
  });

  const keys: [string, Partial<PodCertificateRequest['spec']>, object][] = [
    [
      'the stub request of a kubelet from 1.36 on',
      { stubPKCS10Request: 'AAAA', pkixPublicKey: null },
      { form: 'pkcs10' },
    ],
    [
      'the bare key of a kubelet of 1.35',
      { stubPKCS10Request: null, pkixPublicKey: 'BBBB' },
      { form: 'spki' },
    ],
    ['an empty field counts as none', { stubPKCS10Request: '', pkixPublicKey: '' }, { form: 'none' }],
    ['both fields', { stubPKCS10Request: 'AAAA', pkixPublicKey: 'BBBB' }, { form: 'both' }],
  ];
  for (const [name, spec, expected] of keys) {
    it(`the key of a request is found: ${name}`, () => {
      assert.partialDeepStrictEqual(withSpec(spec), { key: expected });
    });
  }

  it('the default of the API is used if maxExpirationSeconds is not shown', () => {
    const { maxExpirationSeconds: _, ...spec } = wire.spec;
    assert.partialDeepStrictEqual(toCertificateRequest({ ...wire, spec }, 'v1', undefined), {
      maxExpirationSeconds: 86_400,
    });
  });

  const known = { 'kubespiffe.io/registration': (value: string) => (value === '' ? 'is empty' : undefined) };
  const annotations: [string, Record<string, string>, typeof known | undefined, RegExp | undefined][] = [
    ['keeps those that the signer knows', { 'kubespiffe.io/registration': 'web' }, known, undefined],
    [
      'refuses a key that is not known',
      { 'kubespiffe.io/registration': 'web', uri: 'spiffe://a/b' },
      known,
      /"uri" is not known; this signer accepts only kubespiffe\.io\/registration/,
    ],
    ['refuses a value that is never right', { 'kubespiffe.io/registration': '' }, known, /is empty/],
    ['refuses a key named like a member of every object', { constructor: '' }, known, /is not known/],
    ['refuses all where the signer knows none', { uri: '' }, undefined, /accepts no userAnnotations/],
  ];
  for (const [name, unverifiedUserAnnotations, accepted, problem] of annotations) {
    it(`reading a request with unverifiedUserAnnotations ${name}`, () => {
      const spec = { ...wire.spec, unverifiedUserAnnotations };
      const request = toCertificateRequest({ ...wire, spec }, 'v1', accepted);
      assert.ok(request.answered === undefined);
      assert.deepEqual(request.annotations, problem ? {} : unverifiedUserAnnotations);
      if (problem) assert.match(request.annotationProblem ?? '', problem);
      else assert.equal(request.annotationProblem, undefined);
    });
  }

  it('an answered request is kept only with the name of the writer of its answer', () => {
    const answered = toCertificateRequest(
      {
        ...wire,
        metadata: {
          ...wire.metadata,
          managedFields: [
            { manager: 'kubelet', operation: 'Update' },
            { manager: 'signer-b', operation: 'Update', subresource: 'status' },
          ],
        },
        status: {
          conditions: [
            { type: 'Issued', status: 'True', reason: 'Issued', lastTransitionTime: '2026-11-22T12:00:01Z' },
          ],
        },
      },
      'v1',
      undefined,
    );
    assert.deepEqual(answered, {
      uid: 'request-uid',
      namespace: 'shop',
      name: 'req-1',
      version: 'v1',
      answered: 'Issued',
      answeredBy: 'signer-b',
    });
  });
});

describe('the key of a request', () => {
  it('the key of a request is unreadable, not unsupported, if the fields contradict each other', () => {
    for (const form of ['none', 'both'] as const) {
      assert.equal(readRequestKey({ form }).kind, 'unreadable');
    }
  });

  it('the key of a request is read from a bare SubjectPublicKeyInfo', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const base64 = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
    const key = readRequestKey({ form: 'spki', base64 });
    assert.equal(key.kind === 'supported' && key.type.name, 'Ed25519');
  });
});
