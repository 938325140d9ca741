import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { nameOfRegistration } from '../../signer/identity/registration.ts';
import { registrationStatus } from '../../signer/identity/registration-status.ts';
import { createTallies, type PodOutcome, type Tallies } from '../../signer/identity/registration-tally.ts';
import { aRegistration, readAs } from './registrations.ts';

const registrations = ['a', 'b', 'c'].map((name) => aRegistration({}, name));
const names = registrations.map(nameOfRegistration);
const anOutcome: fc.Arbitrary<PodOutcome | undefined> = fc.option(
  fc.subarray(registrations).chain((selectedBy) =>
    fc.oneof(
      fc.constant({ selectedBy }),
      ...selectedBy.map((namedBy) => fc.constant({ selectedBy, namedBy })),
      fc.record({
        selectedBy: fc.constant(selectedBy),
        failure: fc.record({
          of: fc.subarray(selectedBy),
          reason: fc.constantFrom('IdentityInvalid', 'RegistrationAmbiguous'),
          message: fc.string(),
        }),
      }),
    ),
  ),
  { nil: undefined },
);
const shown = (tallies: Tallies) =>
  names.map((name) => {
    const { selected, named, failures } = tallies.of(name);
    return { name, selected, named, failures: [...failures].sort() };
  });

describe('the tallies of registrations', () => {
  it('the tallies after any changes are the same as if each pod had been counted once', () => {
    const changes = fc.array(fc.tuple(fc.constantFrom('shop/p', 'shop/q', 'shop/r'), anOutcome), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(changes, (all) => {
        const counted = createTallies();
        for (const [pod, outcome] of all) counted.count(pod, outcome);
        const afresh = createTallies();
        for (const [pod, outcome] of new Map(all)) afresh.count(pod, outcome);
        assert.deepEqual(shown(counted), shown(afresh));
      }),
    );
  });

  it('every registration whose tally a pod changes is named, and none if nothing changes', () => {
    const [a, b] = registrations;
    assert.ok(a && b);
    const tallies = createTallies();
    assert.deepEqual(tallies.count('shop/p', { selectedBy: [a], namedBy: a }), ['shop/a']);
    assert.deepEqual(tallies.count('shop/p', { selectedBy: [a], namedBy: a }), []);
    assert.deepEqual(tallies.count('shop/p', { selectedBy: [b], namedBy: b }), ['shop/a', 'shop/b']);
    assert.deepEqual(tallies.count('shop/p', undefined), ['shop/b']);
    assert.deepEqual(tallies.count('shop/q', undefined), []);
  });

  it('a pod is counted for at most 100 of the registrations that select it, and for the one that names it', () => {
    const many = Array.from({ length: 10_000 }, (_, number) => aRegistration({}, `r-${number}`));
    const [namedBy] = many.slice(-1);
    assert.ok(namedBy);
    const tallies = createTallies();
    assert.equal(tallies.count('shop/p', { selectedBy: many, namedBy }).length, 100);
    assert.equal(tallies.of(`shop/${namedBy.name}`).named, 1);
    const failure = { of: many, reason: 'RegistrationAmbiguous', message: 'Several match' };
    tallies.count('shop/p', { selectedBy: many, failure });
    assert.equal(many.filter(({ name }) => tallies.of(`shop/${name}`).failures.size === 1).length, 100);
    tallies.count('shop/p', undefined);
    assert.ok(many.every(({ name }) => tallies.of(`shop/${name}`).selected === 0));
  });
});

const now = '2026-01-02T00:00:00Z';
/** The status of a registration after these pods were counted, in short. */
function statusAfter(
  outcomes: Readonly<Record<string, PodOutcome>>,
  { registration = aRegistration({}, 'a'), observed = undefined as unknown } = {},
) {
  const tallies = createTallies();
  for (const [pod, outcome] of Object.entries(outcomes)) tallies.count(pod, outcome);
  return registrationStatus(registration, tallies.of('shop/a'), {
    observed,
    outcomeOf: (pod) => outcomes[pod],
    now,
  });
}
const short = ({ conditions }: ReturnType<typeof statusAfter>) =>
  conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);

describe('the status of a registration', () => {
  const [a = aRegistration(), b = aRegistration()] = registrations;
  const named = { selectedBy: [a], namedBy: a };
  const byAnother = { selectedBy: [a, b], namedBy: b };
  const invalid = { reason: 'IdentityInvalid', message: 'the pod has no label app' };
  const failed = { selectedBy: [a], failure: { of: [a], ...invalid } };
  const failure = { of: [a, b], reason: 'RegistrationAmbiguous', message: 'Several match' };
  const ambiguous = { selectedBy: [a, b], failure };

  it('a registration without pods is ready, and its status says that it has none', () => {
    const status = statusAfter({});
    assert.deepEqual(short(status), [
      'Ready=True NoPods',
      'TemplateInvalid=False Valid',
      'Conflicting=False NoConflict',
    ]);
    const { conditions, ...counts } = status;
    assert.deepEqual(counts, {
      ...{ observedGeneration: 1, podsSelected: 0, namesGiven: 0, failureCount: 0, failures: [] },
    });
    assert.ok(conditions.every(({ observedGeneration }) => observedGeneration === 1));
  });

  it('pods that another registration names count as selected, and not as failed', () => {
    const status = statusAfter({ 'shop/p': named, 'shop/q': byAnother, 'shop/r': named });
    assert.deepEqual([status.podsSelected, status.namesGiven, status.failureCount], [3, 2, 0]);
    const [ready] = status.conditions;
    assert.deepEqual([ready?.status, ready?.reason], ['True', 'NamesGiven']);
    assert.equal(
      ready?.message,
      '2 pods have their names from it. 1 pod of those that it selects has its name from another registration.',
    );
  });

  it('the status of a registration names up to five pods that get no name, each with the reason', () => {
    const pods = Object.fromEntries(['p', 'q', 'r', 's', 't', 'u'].map((pod) => [`shop/${pod}`, failed]));
    const status = statusAfter({ ...pods, 'shop/v': named });
    assert.deepEqual([status.podsSelected, status.namesGiven, status.failureCount], [7, 1, 6]);
    assert.equal(status.failures.length, 5);
    assert.deepEqual(status.failures[0], { pod: 'shop/p', ...invalid });
    const [ready] = status.conditions;
    assert.equal(ready?.message, '6 of 7 pods get no name, for example shop/p: the pod has no label app');
  });

  it('a registration is conflicting while another one of the same priority matches a pod, even if many other pods fail before', () => {
    const pods = Object.fromEntries(['p', 'q', 'r', 's', 't', 'u'].map((pod) => [`shop/${pod}`, failed]));
    const status = statusAfter({ ...pods, 'shop/v': ambiguous });
    assert.deepEqual(short(status), [
      ...['Ready=False PodsWithoutName', 'TemplateInvalid=False Valid', 'Conflicting=True SamePriority'],
    ]);
    assert.match(
      status.conditions[2]?.message ?? '',
      /^shop\/v is matched with the same priority by shop\/a, shop\/b\./,
    );
  });

  it('the status of a registration reports what is wrong with a template, with pods and without', () => {
    const registration = readAs('WorkloadRegistration', {
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ lower .A }}',
    });
    const status = statusAfter({}, { registration });
    assert.deepEqual(short(status).slice(0, 2), [
      'Ready=False TemplateInvalid',
      'TemplateInvalid=True TemplateInvalid',
    ]);
    assert.match(status.conditions[1]?.message ?? '', /functions?/);
  });

  it('a condition of a registration keeps its time until its status changes', () => {
    const before = statusAfter({ 'shop/p': named });
    const earlier = '2026-01-01T00:00:00Z';
    const observed = {
      conditions: before.conditions.map((each) => ({ ...each, lastTransitionTime: earlier })),
    };
    const times = (outcomes: Parameters<typeof statusAfter>[0]) =>
      statusAfter(outcomes, { observed }).conditions.map(({ lastTransitionTime }) => lastTransitionTime);
    assert.deepEqual(times({ 'shop/p': named, 'shop/q': named }), [earlier, earlier, earlier]);
    assert.deepEqual(times({ 'shop/p': ambiguous }), [now, earlier, now]);
  });

  it('the status of a registration is made from the spec only, and not from the old status', () => {
    fc.assert(
      fc.property(fc.anything(), (observed) => {
        assert.equal(statusAfter({ 'shop/p': named }, { observed }).conditions.length, 3);
        statusAfter({ 'shop/p': named }, { observed: { conditions: observed } });
      }),
    );
  });

  it('the status of a registration stays below the limits of the CRD', () => {
    const message = 'x'.repeat(100_000);
    const status = statusAfter({
      'shop/p': { selectedBy: [a], failure: { of: [a], reason: 'IdentityInvalid', message } },
    });
    assert.ok(JSON.stringify(status).length < 8_192);
  });
});
