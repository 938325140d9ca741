import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { matches } from '../../signer/identity/resolve.ts';
import {
  grants,
  type RegistrationRow,
  rightSpec,
  rowsOfBoth,
  rowsOfCluster,
  rowsOfNamespace,
  trustDomains,
} from '../manifests/registration-rows.ts';
import { aNamedPod, aPolicy, nameFor, readAs } from './registrations.ts';

const labels = {
  ...{ app: 'web', a: 'b', 'a/b': 'bank', ns: 'bank', tier: 'a', 'app.kubernetes.io/name': 'web' },
};
const pod = aNamedPod({ labels, serviceAccountName: 'web', annotations: { 'example.org/team': 'red' } });

/** Only bad for what an author meant: the signer can tell what to do. */
const refusedByTheApiServerAlone = ['matchAllPods with a selector'];

/** The signers that the API server knows, and one of a class that it does not know. */
const signers = [...trustDomains, { className: 'green', trustDomain: 'partner.example' }];
const signerOf = ({ className }: { className?: string }) =>
  signers.find((each) => each.className === (className ?? ''));

/** test/manifests/admission.test.ts holds the API server to the same rows. */
describe('a registration that the API server judges', () => {
  const judge = (kind: Parameters<typeof readAs>[0], { spec, refusal }: RegistrationRow) => {
    const registration = readAs(kind, { ...rightSpec, ...spec });
    const identity = nameFor(registration, pod, aPolicy(...grants), signerOf(spec)?.trustDomain);
    assert.equal(identity.ok, refusal === undefined, JSON.stringify(identity));
    if (refusal && registration.grant.ok) assert.ok(matches(registration, pod));
  };
  const verb = ({ refusal }: RegistrationRow) => (refusal ? 'gives no name' : 'gives a name');
  for (const row of [...rowsOfBoth, ...rowsOfNamespace])
    it(`a WorkloadRegistration with ${row.what} ${verb(row)}`, () => judge('WorkloadRegistration', row));
  for (const row of [...rowsOfBoth, ...rowsOfCluster].filter(
    ({ what }) => !refusedByTheApiServerAlone.includes(what),
  ))
    it(`a ClusterWorkloadRegistration with ${row.what} ${verb(row)}`, () =>
      judge('ClusterWorkloadRegistration', row));
});
