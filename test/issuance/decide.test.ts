import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Identify, identify } from '../../signer/identity/identify.ts';
import { type Decision, decideOnPod, decideOnRequest } from '../../signer/issuance/decide.ts';
import type { PodLookup } from '../../signer/kube/pods.ts';
import type { SubjectKey, SupportedKey } from '../../spiffe/pki/spki.ts';
import { anOpenRequest, aPod, aSupportedKey } from './examples.ts';

const identifyIn =
  (trustDomain: string): Identify =>
  (pod) =>
    identify(pod, { trustDomain });
const identifyPod = identifyIn('example.org');

describe('a decision on what the request says of itself', () => {
  const rows: {
    name: string;
    key: SubjectKey;
    annotationProblem?: string;
    expected: Pick<Decision, 'kind'> & { reason: string };
  }[] = [
    {
      name: 'waits, with an alarm, for a key that only we cannot read',
      key: { kind: 'unreadable', reason: 'trailing bytes' },
      expected: { kind: 'wait', reason: 'RequestUnreadable' },
    },
    {
      name: 'denies a readable key of an algorithm that we do not know',
      key: { kind: 'unsupported', algorithm: 'ML-DSA-65' },
      expected: { kind: 'deny', reason: 'UnsupportedKeyType' },
    },
    {
      name: 'denies an annotation key',
      key: aSupportedKey,
      annotationProblem: 'kubespiffe.io/uri',
      expected: { kind: 'deny', reason: 'InvalidUnverifiedUserAnnotations' },
    },
    {
      name: 'does not deny an unreadable request for its annotations',
      key: { kind: 'unreadable', reason: 'truncated' },
      annotationProblem: 'kubespiffe.io/uri',
      expected: { kind: 'wait', reason: 'RequestUnreadable' },
    },
  ];
  for (const { name, key, annotationProblem, expected } of rows) {
    it(`the decision ${name}`, () => {
      const decision = decideOnRequest(anOpenRequest({ annotationProblem }), key);
      assert.partialDeepStrictEqual(decision, expected);
    });
  }

  it('a request with a supported key and no annotation is considered further', () => {
    assert.equal(decideOnRequest(anOpenRequest(), aSupportedKey), aSupportedKey);
  });
});

describe('a decision on the live pod', () => {
  const found = (facts: Parameters<typeof aPod>[0] = {}): PodLookup => ({ kind: 'found', pod: aPod(facts) });
  const rows: { name: string; lookup: PodLookup; expected: { kind: string; reason?: string } }[] = [
    { name: 'issues for the pod of the request', lookup: found(), expected: { kind: 'issue' } },
    {
      name: 'drops the request of a pod that is gone',
      lookup: { kind: 'gone' },
      expected: { kind: 'drop', reason: 'PodGone' },
    },
    {
      name: 'drops the request of a pod that was replaced by one of the same name',
      lookup: found({ uid: 'another' }),
      expected: { kind: 'drop', reason: 'PodReplaced' },
    },
    {
      name: 'drops, and does not deny, a request whose replaced pod also has another ServiceAccount',
      lookup: found({ uid: 'another', serviceAccountName: 'other' }),
      expected: { kind: 'drop', reason: 'PodReplaced' },
    },
    {
      name: 'waits when the pod has another ServiceAccount',
      lookup: found({ serviceAccountName: 'other' }),
      expected: { kind: 'wait', reason: 'ServiceAccountMismatch' },
    },
    {
      name: 'waits when the pod runs on another node',
      lookup: found({ nodeName: 'other' }),
      expected: { kind: 'wait', reason: 'NodeMismatch' },
    },
    {
      name: 'waits when the pod has no node',
      lookup: found({ nodeName: '' }),
      expected: { kind: 'wait', reason: 'NodeMismatch' },
    },
    {
      name: 'waits when the pod has succeeded',
      lookup: found({ finished: 'Succeeded' }),
      expected: { kind: 'wait', reason: 'PodFinished' },
    },
    {
      name: 'waits when the pod has failed',
      lookup: found({ finished: 'Failed' }),
      expected: { kind: 'wait', reason: 'PodFinished' },
    },
    {
      name: 'waits while the pod cannot be looked up',
      lookup: { kind: 'unavailable', error: new Error('timeout') },
      expected: { kind: 'wait', reason: 'PodNotVisible' },
    },
  ];
  for (const { name, lookup, expected } of rows) {
    it(`the decision ${name}`, () => {
      assert.partialDeepStrictEqual(
        decideOnPod(anOpenRequest(), aSupportedKey, lookup, identifyPod),
        expected,
      );
    });
  }

  it('the decision names the workload by trust domain, namespace and ServiceAccount', () => {
    const decision = decideOnPod(anOpenRequest(), aSupportedKey, found(), identifyPod);
    assert.equal(
      decision.kind === 'issue' && decision.subject.display,
      'spiffe://example.org/ns/shop/sa/web',
    );
  });

  it('the decision issues at the length limits of namespace, ServiceAccount and trust domain', () => {
    const namespace = 'n'.repeat(63);
    const serviceAccountName = 's'.repeat(253);
    const trustDomain = 't'.repeat(255);
    const request = anOpenRequest({ namespace, serviceAccountName });
    const key: SupportedKey = aSupportedKey;
    const decision = decideOnPod(request, key, found({ serviceAccountName }), identifyIn(trustDomain));
    assert.equal(
      decision.kind === 'issue' && decision.subject.display,
      `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccountName}`,
    );
  });
});
