import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { newPool } from '../../signer/authority/document.ts';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { type Identify, identify } from '../../signer/identity/identify.ts';
import { decideOnPod as decideOnRequest } from '../../signer/issuance/decide.ts';
import {
  judgeClientCertificate,
  readClientCertificate,
} from '../../signer/token/caller/client-certificate.ts';
import { identifyCaller } from '../../signer/token/caller/pods.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { endpointIdOf, infrastructurePath } from '../../spiffe/infrastructure.ts';
import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { anOpenRequest, aPod, aSupportedKey } from '../issuance/examples.ts';

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const anything = fc.string({ maxLength: 30 });
const facts = fc.record({
  trustDomain: fc.oneof(name, anything),
  namespace: fc.oneof(label, anything),
  serviceAccountName: fc.oneof(name, anything),
});

const identifyIn =
  (trustDomain: string): Identify =>
  (pod) =>
    identify(pod, { trustDomain });

test('a pod has one identity: its certificate and its tokens carry the same SPIFFE ID, or neither is given', () => {
  fc.assert(
    fc.property(facts, ({ trustDomain, namespace, serviceAccountName }) => {
      const pod = aPod({ serviceAccountName });
      const certificate = decideOnRequest(
        anOpenRequest({ namespace, serviceAccountName }),
        aSupportedKey,
        { kind: 'found', pod },
        identifyIn(trustDomain),
      );
      const token = identifyCaller(
        {
          namespace,
          serviceAccount: { name: serviceAccountName, uid: 'service-account-uid' },
          pod: { name: 'web-0', uid: pod.uid },
          expiresAt: 0,
          id: '',
          provedBy: 'token',
        },
        { kind: 'found', pod },
        identifyIn(trustDomain),
        0,
      );
      const named = certificate.kind === 'issue' ? certificate.subject : undefined;
      assert.deepEqual(token.ok ? token.value.subject : undefined, named);
      assert.ok(named !== undefined || certificate.kind === 'wait');
    }),
  );
});

test('requests and tokens look at the pod in the same way: a wrong or finished pod gets neither', () => {
  const either = <T>(same: T, other: fc.Arbitrary<T>) => fc.oneof(fc.constant(same), other);
  const lookups = fc.oneof(
    fc.record({
      kind: fc.constant('found' as const),
      pod: fc.record({
        uid: either('pod-uid', fc.constantFrom('other', '')),
        serviceAccountName: either('web', fc.constantFrom('admin', '', 'WEB')),
        nodeName: fc.constant('node-1'),
        finished: either(undefined, fc.constantFrom('Succeeded', 'Failed')),
      }),
    }),
    fc.constant({ kind: 'gone' as const }),
    fc.constant({ kind: 'unavailable' as const, error: new Error('timeout') }),
  );
  const seen = new Set<string>();
  fc.assert(
    fc.property(lookups, (lookup) => {
      const identifyPod = identifyIn('example.org');
      const request = anOpenRequest({ podUID: 'pod-uid', serviceAccountName: 'web', nodeName: 'node-1' });
      const certificate = decideOnRequest(request, aSupportedKey, lookup, identifyPod);
      const caller = {
        namespace: request.namespace,
        serviceAccount: { name: 'web', uid: 'service-account-uid' },
        pod: { name: request.podName, uid: 'pod-uid' },
        expiresAt: 0,
        id: '',
        provedBy: 'token' as const,
      };
      const token = identifyCaller(caller, lookup, identifyPod, 0);
      assert.equal(token.ok, certificate.kind === 'issue');
      if (!token.ok && certificate.kind !== 'issue') {
        seen.add(token.code);
        // A pod that could not be looked up is not visible yet to the one, and unavailable to the other.
        const sameName = certificate.reason.replace('PodNotVisible', 'PodUnavailable');
        assert.equal(token.code, sameName);
      }
      const isRight =
        lookup.kind === 'found' &&
        lookup.pod.uid === 'pod-uid' &&
        lookup.pod.serviceAccountName === 'web' &&
        lookup.pod.finished === undefined;
      assert.equal(token.ok, isRight);
    }),
    { numRuns: 500 },
  );
  assert.deepEqual([...seen].sort(), [
    'PodFinished',
    'PodGone',
    'PodReplaced',
    'PodUnavailable',
    'ServiceAccountMismatch',
  ]);
});

test('no pod with any name has an identity of the infrastructure', () => {
  const tricky = fc.constantFrom(
    'kubespiffe',
    '..',
    '../kubespiffe',
    '/kubespiffe',
    'kubespiffe/token-endpoint',
    '',
  );
  const names = fc.record({
    trustDomain: name,
    namespace: fc.oneof(label, anything, tricky),
    serviceAccountName: fc.oneof(name, anything, tricky),
  });
  fc.assert(
    fc.property(names, ({ trustDomain, ...facts }) => {
      const identity = identify(facts, { trustDomain });
      if (!identity.ok) return;
      const [uri = '', ...others] = identity.subject.uris;
      const id = parseSpiffeId(uri);
      assert.ok(id.ok && others.length === 0);
      assert.match(id.value.path, /^\/ns\/[^/]+\/sa\/[^/]+$/);
      assert.ok(!uri.startsWith(`spiffe://${trustDomain}/${infrastructurePath}`));
      assert.notEqual(uri, endpointIdOf(trustDomain).uri);
    }),
    { numRuns: 2_000 },
  );
});

test('a certificate that the signer issues for a pod is good for a token of the same SPIFFE ID', async () => {
  const now = 1_800_000_000;
  const record = await createAuthority({ id: '1', trustDomain: 'example.org', now });
  const compiled = compilePool(newPool('example.org', record), 'example.org');
  const authority = compiled.ok ? compiled.pool.active?.signingAuthority : undefined;
  assert.ok(compiled.ok && authority);
  const extensionsFor = leafExtensions({ podIdentity: true, issuer: 'https://id.example.org' });
  const profile = { ...svidProfile, extensionsFor };
  const requests = fc.record({
    namespace: label,
    serviceAccountName: name,
    podName: name,
    podUID: fc.uuid(),
    serviceAccountUID: fc.uuid(),
    nodeName: name,
    nodeUID: fc.uuid(),
  });
  await fc.assert(
    fc.asyncProperty(requests, fc.integer({ min: 1, max: 86_400 }), async (names, lifetime) => {
      const request = anOpenRequest(names);
      const pod = aPod({
        uid: request.podUID,
        serviceAccountName: request.serviceAccountName,
        nodeName: request.nodeName,
      });
      const found = { kind: 'found', pod } as const;
      const identifyPod = identifyIn('example.org');
      const decision = decideOnRequest(request, aSupportedKey, found, identifyPod);
      assert.ok(decision.kind === 'issue');
      const { leafDer, serialHex } = await issueLeaf({
        authority,
        profile,
        subject: decision.subject,
        key: decision.key,
        validity: { notBefore: now, notAfter: now + lifetime },
        serial: makeSerial(randomBytes),
        pod: request,
      });
      const reading = readClientCertificate(leafDer, compiled.pool, 'example.org');
      assert.ok(reading.ok);
      const caller = judgeClientCertificate(reading.value, now);
      assert.ok(caller.ok);
      assert.deepEqual([caller.value.id, caller.value.expiresAt], [serialHex, now + lifetime]);
      const token = identifyCaller(caller.value, found, identifyPod, now);
      assert.deepEqual(token.ok && token.value.subject, decision.subject);
    }),
  );
});
