import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import {
  type AdmissionPolicy,
  type AdmissionPolicyBinding,
  admissionPolicyName,
} from '../../signer/issuance/admission-policy.ts';
import { createGuard, type RequestAdmission } from '../../signer/issuance/guard.ts';
import { createStore } from '../../signer/kube/store.ts';
import { timeWith } from '../kube/fake-time.ts';

const manifest = join(import.meta.dirname, '../../manifests/base/admission-policy.yaml');
const documents = parseAllDocuments(await readFile(manifest, 'utf8')).map((document) => document.toJS());

const start = Date.UTC(2026, 10, 25, 12);
const second = 1_000;

/** A guard over two stores, with policy and binding created `policySecond` after the start. */
function setUp(requestAdmission: RequestAdmission = 'policy') {
  let monotonicMs = 0;
  let isClockKnown = true;
  const time = timeWith({ monotonic: () => monotonicMs });
  const policies = createStore<AdmissionPolicy>({ time });
  const bindings = createStore<AdmissionPolicyBinding>({ time });
  const said: [level: string, message: string][] = [];
  const log = (level: string) => (_: object, message: string) => void said.push([level, message]);
  const guard = createGuard({
    requestAdmission,
    policies,
    bindings,
    serverNow: () => (isClockKnown ? start + monotonicMs : undefined),
    time,
    log: { error: log('error'), warn: log('warn'), info: log('info') },
  });
  const made = <T>(document: object, seconds: number): T =>
    ({
      ...document,
      metadata: {
        name: admissionPolicyName,
        creationTimestamp: new Date(start + seconds * second).toISOString(),
      },
    }) as T;
  return {
    guard,
    policies,
    bindings,
    said,
    policyOf: (seconds: number) => made<AdmissionPolicy>(documents[0], seconds),
    bindingOf: (seconds: number) => made<AdmissionPolicyBinding>(documents[1], seconds),
    advance: (seconds: number) => {
      monotonicMs += seconds * second;
    },
    setClockKnown: (isKnown: boolean) => {
      isClockKnown = isKnown;
    },
    reasonAt: (seconds: number) => guard.refusal({ createdAtMs: start + seconds * second })?.reason,
  };
}

test('requests wait until policy and binding have been read', async () => {
  const { guard, policies, bindings, policyOf, bindingOf, reasonAt } = setUp();
  assert.equal(reasonAt(100), 'RequestsUnguarded');
  policies.replace([[admissionPolicyName, policyOf(0)]]);
  assert.match(guard.problem() ?? '', /has not been read yet/);
  bindings.replace([[admissionPolicyName, bindingOf(0)]]);
  await guard.known;
  assert.equal(reasonAt(100), undefined);
});

test('requests of the first three seconds of a policy are not believed, nor are earlier ones', async () => {
  const { guard, policies, bindings, policyOf, bindingOf, reasonAt, advance } = setUp();
  policies.replace([[admissionPolicyName, policyOf(0)]]);
  bindings.replace([[admissionPolicyName, bindingOf(10)]]);
  await guard.known;
  for (const seconds of [-60, 5, 12]) assert.equal(reasonAt(seconds), 'CreatedUnguarded');
  assert.equal(reasonAt(13), undefined);
  advance(13.4);
  assert.match(guard.reason() ?? '', /takes effect within seconds/);
  advance(0.2);
  assert.equal(guard.reason(), undefined);
});

test('a policy of any age that was changed back is in force from then on', async () => {
  const { guard, policies, bindings, said, policyOf, bindingOf, reasonAt, advance } = setUp();
  policies.replace([[admissionPolicyName, policyOf(-3600)]]);
  bindings.replace([[admissionPolicyName, bindingOf(-3600)]]);
  await guard.known;
  assert.equal(reasonAt(0), undefined);
  advance(100);
  bindings.set(admissionPolicyName, { ...bindingOf(-3600), spec: { validationActions: ['Warn'] } });
  assert.equal(reasonAt(99), 'RequestsUnguarded');
  advance(100.2);
  bindings.set(admissionPolicyName, bindingOf(-3600));
  for (const seconds of [99, 150, 203]) assert.equal(reasonAt(seconds), 'CreatedUnguarded');
  assert.equal(reasonAt(204), undefined);
  policies.set(admissionPolicyName, { ...policyOf(-3600) });
  assert.equal(reasonAt(203), 'CreatedUnguarded');
  assert.deepEqual(
    said.map(([level]) => level),
    ['info', 'error', 'info'],
  );
});

test('requests wait after a repair of the policy until the clock of the API server is known', async () => {
  const { guard, policies, bindings, policyOf, bindingOf, reasonAt, advance, setClockKnown } = setUp();
  policies.replace([[admissionPolicyName, policyOf(-3600)]]);
  bindings.replace([]);
  await guard.known;
  setClockKnown(false);
  bindings.set(admissionPolicyName, bindingOf(-3600));
  advance(100);
  assert.match(guard.problem() ?? '', /clock of the API server is not known/);
  for (const seconds of [-60, 0, 200]) assert.equal(reasonAt(seconds), 'RequestsUnguarded');
  setClockKnown(true);
  assert.equal(reasonAt(102), 'CreatedUnguarded');
  assert.equal(reasonAt(103), undefined);
  advance(100);
  assert.equal(reasonAt(103), undefined, 'the repair stays where it is');
});

test('a policy whose generation rose by two in a gap of the watch may have been weakened: it counts from then on', async () => {
  const { guard, policies, bindings, policyOf, bindingOf, reasonAt, advance } = setUp();
  const at = (generation: number, uid = 'one') => {
    const policy = policyOf(-3600);
    return { ...policy, metadata: { ...policy.metadata, uid, generation } };
  };
  policies.replace([[admissionPolicyName, at(1)]]);
  bindings.replace([[admissionPolicyName, bindingOf(-3600)]]);
  await guard.known;
  advance(100);
  policies.set(admissionPolicyName, at(2));
  assert.equal(reasonAt(50), undefined, 'a change that was seen, such as a stricter one');
  policies.replace([[admissionPolicyName, at(4)]]);
  assert.equal(reasonAt(102), 'CreatedUnguarded');
  assert.equal(reasonAt(103), undefined);
  advance(100);
  policies.replace([[admissionPolicyName, at(1, 'two')]]);
  assert.equal(reasonAt(103), undefined, 'made again: it is as old as it says');
  policies.replace([[admissionPolicyName, at(3, 'three')]]);
  assert.equal(reasonAt(202), 'CreatedUnguarded');
});

test('a policy that the API server has not confirmed for 5 minutes is not believed', async () => {
  const { guard, policies, bindings, policyOf, bindingOf, reasonAt, advance } = setUp();
  policies.replace([[admissionPolicyName, policyOf(-60)]]);
  bindings.replace([[admissionPolicyName, bindingOf(-60)]]);
  await guard.known;
  advance(200);
  policies.touch();
  advance(101);
  assert.match(guard.problem() ?? '', /not confirmed the admission policy for 5 min/);
  assert.equal(reasonAt(300), 'RequestsUnguarded');
  bindings.touch();
  assert.equal(reasonAt(300), undefined);
});

test('if the setting names another guard, every request is believed, and problems of the policy stay known', async () => {
  const { guard, policies, bindings, said, reasonAt } = setUp('external');
  policies.replace([]);
  bindings.replace([]);
  await guard.known;
  assert.equal(reasonAt(0), undefined);
  assert.equal(guard.reason(), undefined);
  assert.match(guard.problem() ?? '', /does not exist/);
  assert.equal(said[0]?.[0], 'warn');
});
