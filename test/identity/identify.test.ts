import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify, verifyPod } from '../../signer/identity/identify.ts';
import type { PodFacts, PodLookup } from '../../signer/kube/pods.ts';

const named = { namespace: 'shop', podName: 'web-0', podUID: 'a', serviceAccountName: 'web' };
const pod: PodFacts = { uid: 'a', nodeName: 'node-1', serviceAccountName: 'web', finished: undefined };
const found = (different: Partial<PodFacts> = {}): PodLookup => ({
  kind: 'found',
  pod: { ...pod, ...different },
});

describe('verifying the pod that a request or credential names', () => {
  const rows: [name: string, lookup: PodLookup, expected: string][] = [
    ['the pod that it names', found(), 'verified'],
    [
      'a pod that has finished, which each caller judges for itself',
      found({ finished: 'Failed' }),
      'verified',
    ],
    ['a pod that is gone', { kind: 'gone' }, 'PodGone: shop/web-0'],
    ['a failed lookup', { kind: 'unavailable', error: new Error('timeout') }, 'PodNotVisible: timeout'],
    ['another pod of the same name', found({ uid: 'b' }), 'PodReplaced: shop/web-0 has UID b, not a'],
    [
      'another pod with another ServiceAccount, as replaced',
      found({ uid: 'b', serviceAccountName: 'admin' }),
      'PodReplaced: shop/web-0 has UID b, not a',
    ],
    [
      'the pod under another ServiceAccount',
      found({ serviceAccountName: 'admin' }),
      'ServiceAccountMismatch: shop/web-0 has admin, not web',
    ],
  ];
  for (const [name, lookup, expected] of rows) {
    it(`the check of a pod ends with ${expected}: ${name}`, () => {
      const verified = verifyPod(named, lookup);
      assert.equal(verified.ok ? 'verified' : `${verified.reason}: ${verified.detail}`, expected);
    });
  }
});

describe('the default identity', () => {
  const rows: [trustDomain: string, namespace: string, serviceAccountName: string, expected: string][] = [
    ['example.org', 'shop', 'web', 'spiffe://example.org/ns/shop/sa/web'],
    ['example.org', 'shop', 'web.v2', 'spiffe://example.org/ns/shop/sa/web.v2'],
    [
      'example.org',
      '',
      'web',
      'IdentityInvalid: the path of a SPIFFE ID has an empty segment (SPIFFE-ID 2.2)',
    ],
    ['Example.org', 'shop', 'web', 'IdentityInvalid: '],
    [
      'example.org',
      'shop',
      '..',
      'IdentityInvalid: the path of a SPIFFE ID has the segment ".." (SPIFFE-ID 2.2)',
    ],
    ['example.org', 'shop', 'a/b', 'IdentityInvalid: a path segment of a SPIFFE ID has only the characters'],
    ['example.org', 'shop', 'a'.repeat(2048), 'IdentityInvalid: the SPIFFE ID would have 2080 bytes'],
  ];
  for (const [trustDomain, namespace, serviceAccountName, expected] of rows) {
    const title = `${trustDomain}, ${namespace || '(empty)'}, ${serviceAccountName.slice(0, 10)}`;
    it(`the default identity of ${title} is ${expected.slice(0, 80)}`, () => {
      const identity = identify({ namespace, serviceAccountName }, { trustDomain });
      if (identity.ok) {
        assert.deepEqual(identity.subject, { uris: [expected], dnsNames: [], display: expected });
      } else {
        assert.ok(`${identity.reason}: ${identity.detail}`.startsWith(expected), identity.detail);
      }
    });
  }
});
