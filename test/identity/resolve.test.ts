import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import {
  choose,
  explainChoice,
  matches,
  type NamedPod,
  type Resolution,
  whyNot,
} from '../../signer/identity/resolve.ts';
import { aClusterRegistration, aNamedPod, aRegistration } from './registrations.ts';

const unnamed = { ...aNamedPod(), namespaceLabels: undefined };

describe('a registration', () => {
  const rows: [name: string, registration: Registration, pod: NamedPod, why: string | undefined][] = [
    ['of the namespace, for all of it', aRegistration(), aNamedPod(), undefined],
    [
      'with all that the pod has',
      aRegistration({ podSelector: { matchLabels: { app: 'web' } }, serviceAccountNames: ['db', 'web'] }),
      aNamedPod(),
      undefined,
    ],
    [
      'of another namespace',
      aRegistration({}, 'web', 'bank'),
      aNamedPod(),
      'it is for pods of the namespace bank',
    ],
    [
      'for another label',
      aRegistration({ podSelector: { matchLabels: { app: 'db' } } }),
      aNamedPod(),
      'the pod has the label app=web, and the selector needs app=db',
    ],
    [
      'for a pod without labels',
      aRegistration({ podSelector: { matchLabels: { app: 'db' } } }),
      aNamedPod({ labels: undefined as never }),
      'the pod lacks the label app=db',
    ],
    [
      'for other ServiceAccounts',
      aRegistration({ serviceAccountNames: ['db', 'job'] }),
      aNamedPod(),
      'the ServiceAccount of the pod is web, not db or job',
    ],
    ['of the cluster, for all of it', aClusterRegistration(), unnamed, undefined],
    [
      'of the cluster, for the namespace',
      aClusterRegistration({ namespaceSelector: { matchLabels: { tier: 'front' } } }),
      aNamedPod(),
      undefined,
    ],
    [
      'for other namespaces',
      aClusterRegistration({ namespaceSelector: { matchLabels: { tier: 'back' } } }),
      aNamedPod(),
      'the namespace shop has the label tier=front, and the selector needs tier=back',
    ],
    [
      'for a namespace that was not seen',
      aClusterRegistration({
        namespaceSelector: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] },
      }),
      unnamed,
      'the namespace shop was not seen yet',
    ],
    [
      'that cannot be read',
      aRegistration({ podSelector: 5 }),
      aNamedPod(),
      'it cannot be read: podSelector is 5, not a label selector',
    ],
  ];
  for (const [name, registration, pod, why] of rows) {
    it(`a registration ${why === undefined ? 'matches' : 'does not match, and reports why'}: ${name}`, () => {
      assert.equal(whyNot(registration, pod), why);
      assert.equal(matches(registration, pod), why === undefined);
    });
  }
});

describe('the reason why a registration does not match', () => {
  const values = Array.from({ length: 64 }, (_, at) => `${at}`.padEnd(63, 'x'));
  const expression = { key: 'app', operator: 'In', values };
  for (const spec of [{ serviceAccountNames: values }, { podSelector: { matchExpressions: [expression] } }]) {
    it(`the reason why a registration does not match is short, even if its author wrote much: ${Object.keys(spec)}`, () => {
      const why = whyNot(aRegistration(spec), aNamedPod()) ?? '';
      assert.ok(why.length > 63 * 5 && why.length < 500, why);
    });
  }
});

const [a, b, c] = ['a', 'b', 'c'].map((name) => aRegistration({}, name)) as [
  Registration,
  Registration,
  Registration,
];
const first = aRegistration({ priority: 5 }, 'first');
const fallback = aRegistration({ fallback: true, priority: 9 }, 'fallback');
const other = aRegistration({ fallback: true }, 'other');
const cluster = aClusterRegistration({}, 'a');

/** A registration of the administrator. */
const limits = (priority: number) => aClusterRegistration({ priority }, 'limits');

/** Without the order of those that it cannot decide between. */
const plain = (resolution: Resolution) =>
  resolution.kind === 'wait'
    ? { ...resolution, among: resolution.among.map(nameOfRegistration).sort() }
    : resolution;

describe('the registration that counts for a pod', () => {
  const rows: [name: string, matching: Registration[], wanted: string | undefined, expected: string][] = [
    ['none of none', [], undefined, 'none'],
    ['the only one', [a], undefined, 'shop/a'],
    ['the one of the highest priority', [a, first, b], undefined, 'shop/first'],
    ['neither of two', [b, a], undefined, 'RegistrationAmbiguous: shop/a, shop/b'],
    [
      'neither of two of the highest priority',
      [a, first, { ...first, name: 'f' }],
      undefined,
      'RegistrationAmbiguous: shop/f, shop/first',
    ],
    ['a fallback where nothing else matches', [fallback], undefined, 'shop/fallback'],
    ['the fallback of the highest priority', [other, fallback], undefined, 'shop/fallback'],
    ['not a fallback if another matches, with any priority', [fallback, a], undefined, 'shop/a'],
    ['the one that is asked for, of two', [a, b], 'b', 'shop/b'],
    ['the one that is asked for, of lower priority', [a, first], 'a', 'shop/a'],
    [
      'the one that is asked for, beside a lower one of the cluster',
      [first, limits(4)],
      'first',
      'shop/first',
    ],
    [
      'not one that is asked for below one of the cluster',
      [first, a, limits(6)],
      'first',
      'RegistrationNotMatching: the priority of shop/first is lower than that of limits, a ClusterWorkloadRegistration that matches the pod',
    ],
    ['one of the cluster above all of the team', [first, limits(1001)], undefined, 'limits'],
    ['none that does not match', [a, b], 'c', 'RegistrationNotMatching: c'],
    ['none that does not match where nothing matches', [], 'c', 'RegistrationNotMatching: c'],
    [
      'not a fallback that is asked for, where another matches',
      [a, fallback],
      'fallback',
      'RegistrationNotMatching: shop/fallback is a fallback, and shop/a matches the pod',
    ],
    ['neither of two of the same name', [a, cluster], 'a', 'RegistrationAmbiguous: a, shop/a'],
    [
      'none of ten thousand, of which it names five',
      Array.from({ length: 10_000 }, (_, at) => ({ ...a, name: `n${at}` })),
      undefined,
      'RegistrationAmbiguous: shop/n0, shop/n1, shop/n10, shop/n100, shop/n1000 and 9995 others',
    ],
  ];
  for (const [name, matching, wanted, expected] of rows) {
    it(`the registration that counts is ${name}`, () => {
      const found = choose(matching, wanted);
      const text =
        found.kind === 'one'
          ? nameOfRegistration(found.registration)
          : found.kind === 'none'
            ? 'none'
            : `${found.reason}: ${found.detail}`;
      assert.equal(text, expected);
    });
  }

  it('the registration that counts does not depend on their order, and is the same with and without the reasons', () => {
    const some = fc.subarray([a, b, c, first, fallback, other, cluster]);
    const shuffled = some.chain((all) => fc.shuffledSubarray(all, { minLength: all.length }));
    const wanted = fc.constantFrom(undefined, 'a', 'b', 'fallback', 'nobody');
    fc.assert(
      fc.property(shuffled, wanted, (matching, name) => {
        const sorted = [...matching].sort((one, two) =>
          nameOfRegistration(one) < nameOfRegistration(two) ? -1 : 1,
        );
        assert.deepEqual(plain(choose(matching, name)), plain(choose(sorted, name)));
        const options = name === undefined ? {} : { wanted: name };
        const { resolution, considered } = explainChoice(matching, aNamedPod(), options);
        assert.deepEqual(resolution, choose(matching, name));
        const counting = considered
          .filter(({ why }) => why === undefined)
          .map(({ registration }) => registration);
        assert.deepEqual(counting, resolution.kind === 'one' ? [resolution.registration] : []);
      }),
    );
  });

  it('the registration that counts is explained with the reason why each other one does not count', () => {
    const blue = aRegistration({ className: 'blue' }, 'blue');
    const elsewhere = aRegistration({}, 'e', 'bank');
    const { considered } = explainChoice([a, first, fallback, blue, elsewhere], aNamedPod());
    assert.deepEqual(
      considered.map(({ registration, why }) => [nameOfRegistration(registration), why]),
      [
        ['shop/a', 'its priority is 0, and that of shop/first is 5'],
        ['shop/first', undefined],
        ['shop/fallback', 'it is a fallback, and shop/first matches'],
        ['shop/blue', 'its className is blue, and this signer reads those without one'],
        ['bank/e', 'it is for pods of the namespace bank'],
      ],
    );
    const ofBlue = explainChoice([a, b, blue], aNamedPod(), { className: 'blue', wanted: 'a' }).considered;
    assert.deepEqual(
      ofBlue.map(({ why }) => why),
      [
        'it has no className, and this signer reads blue',
        'it has no className, and this signer reads blue',
        'it matches, but: RegistrationNotMatching (a)',
      ],
    );
    const asked = explainChoice([a, b], aNamedPod(), { wanted: 'a' }).considered;
    assert.deepEqual(
      asked.map(({ why }) => why),
      [undefined, 'the request asks for a'],
    );
  });
});
