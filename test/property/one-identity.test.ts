import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decideOnPod as decideOnRequest } from '../../signer/issuance/decide.ts';
import { decideOnPod as decideOnToken } from '../../signer/token/pods.ts';
import { anOpenRequest, aPod, aSupportedKey } from '../issuance/examples.ts';

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const anything = fc.string({ maxLength: 30 });
const facts = fc.record({
  trustDomain: fc.oneof(name, anything),
  namespace: fc.oneof(label, anything),
  serviceAccountName: fc.oneof(name, anything),
});

test('a pod has one identity: its certificate and its tokens carry the same SPIFFE ID, or neither is given', () => {
  fc.assert(
    fc.property(facts, ({ trustDomain, namespace, serviceAccountName }) => {
      const pod = aPod({ serviceAccountName });
      const certificate = decideOnRequest(
        anOpenRequest({ namespace, serviceAccountName }),
        aSupportedKey,
        { kind: 'found', pod },
        { trustDomain },
      );
      const token = decideOnToken(
        {
          namespace,
          serviceAccount: { name: serviceAccountName, uid: 'service-account-uid' },
          pod: { name: 'web-0', uid: pod.uid },
          expiresAt: 0,
          id: '',
        },
        { kind: 'found', pod },
        { trustDomain },
        0,
      );
      const named = certificate.kind === 'issue' ? certificate.spiffeId : undefined;
      assert.deepEqual(token.ok ? token.value : undefined, named);
      assert.ok(named !== undefined || certificate.kind === 'wait');
    }),
  );
});
