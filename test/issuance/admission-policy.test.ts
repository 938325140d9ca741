import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import {
  type AdmissionPolicy,
  type AdmissionPolicyBinding,
  admissionPolicyProblem,
} from '../../signer/issuance/admission-policy.ts';

const manifest = join(import.meta.dirname, '../../manifests/base/admission-policy.yaml');
const documents = parseAllDocuments(await readFile(manifest, 'utf8')).map((document) => document.toJS());
const [policy, binding] = documents as [AdmissionPolicy, AdmissionPolicyBinding];
const constraints = policy.spec?.matchConstraints ?? {};
const [rule = {}] = constraints.resourceRules ?? [];

test('the manifest is what the signer looks for, missing or filled in with the defaults of an API server', () => {
  assert.equal(admissionPolicyProblem(policy, binding), undefined);
  assert.match(admissionPolicyProblem(undefined, binding) ?? '', /^ValidatingAdmissionPolicy .* not exist$/);
  assert.match(admissionPolicyProblem(policy, undefined) ?? '', /PolicyBinding .* does not exist$/);
  const matchConstraints = {
    ...constraints,
    resourceRules: [{ ...rule, scope: '*' }],
    ...{ namespaceSelector: {}, objectSelector: {}, matchPolicy: 'Equivalent', fieldOfLater: {} },
  };
  const stored = { ...policy, spec: { ...policy.spec, matchConstraints, failurePolicy: 'Fail' } };
  assert.equal(admissionPolicyProblem(stored, binding), undefined);
});

const ofPolicy: [change: NonNullable<AdmissionPolicy['spec']>, problem: RegExp][] = [
  [{ paramKind: { apiVersion: 'v1', kind: 'ConfigMap' } }, /parameters \(paramKind\)/],
  [{ matchConstraints: { ...constraints, matchPolicy: 'Exact' } }, /matchConstraints\.matchPolicy/],
  [
    { matchConstraints: { ...constraints, objectSelector: { matchExpressions: [{}] } } },
    /matchConstraints\.objectSelector/,
  ],
  [{ matchConstraints: { resourceRules: [{ ...rule, resourceNames: ['x'] }] } }, /no resourceRule/],
  [{ matchConstraints: { resourceRules: [{ ...rule, scope: 'Cluster' }] } }, /no resourceRule/],
  [{ matchConstraints: { resourceRules: [{ ...rule, apiGroups: ['apps'] }] } }, /no resourceRule/],
  [{ matchConstraints: { resourceRules: [{ ...rule, resources: ['*/status'] }] } }, /no resourceRule/],
  [{ matchConstraints: {} }, /no resourceRule/],
  [{ validations: [] }, /lacks the validation/],
];
for (const [change, problem] of ofPolicy) {
  test(`a policy with ${JSON.stringify(change).slice(0, 120)} is not taken for ours`, () => {
    const changed = { ...policy, spec: { ...policy.spec, ...change } };
    assert.match(admissionPolicyProblem(changed, binding) ?? '', problem);
  });
}

const ofBinding: [change: NonNullable<AdmissionPolicyBinding['spec']>, problem: RegExp][] = [
  [{ paramRef: { name: 'x' } }, /parameters \(paramRef\)/],
  [{ matchResources: { resourceRules: [rule] } }, /matchResources\.resourceRules/],
  [{ matchResources: { excludeResourceRules: [rule] } }, /matchResources\.excludeResourceRules/],
  [{ validationActions: [] }, /without Deny/],
];
for (const [change, problem] of ofBinding) {
  test(`a binding with ${JSON.stringify(change).slice(0, 120)} is not taken for ours`, () => {
    const changed = { ...binding, spec: { ...binding.spec, ...change } };
    assert.match(admissionPolicyProblem(policy, changed) ?? '', problem);
  });
}
