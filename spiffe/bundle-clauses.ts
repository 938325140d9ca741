import { type BundleKey, bundleKeyOf, isKeyOf, x5cOf } from './bundle-key.ts';
import { type Clause, check, type Finding, unless } from './clauses.ts';
import { isJsonObject, type JsonObject, shown } from './json.ts';
import { unknownKindReason, unsupportedReason } from './jwk.ts';
import { isSignedBy } from './pki/verify.ts';

type BundleClause = Clause<JsonObject>;

interface KeyClause extends Clause<BundleKey> {
  /** Whose duty it is: a reader goes on where only the publisher has broken it. Absent: everybody's. */
  readonly of?: 'publisher';
}

const wholeNumberWherePresent = (name: string, clause: string): BundleClause => ({
  level: 'must',
  clause,
  demand: `${name}, where present, is a whole number, 0 or more`,
  problem: (bundle) => {
    const value = bundle[name];
    const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    return unless(value === undefined || isCount, `${name} is not a whole number`);
  },
});

const shouldHave = (name: string, clause: string): BundleClause => ({
  level: 'should',
  clause,
  demand: `${name} is present`,
  problem: (bundle) => unless(bundle[name] !== undefined, `${name} is missing`),
});

const others = (value: JsonObject, known: readonly string[]): string | undefined => {
  const found = Object.keys(value).filter((name) => !known.includes(name));
  return unless(found.length === 0, `the standard does not name ${found.slice(0, 5).join(', ')}`);
};

/** The keys of a document that have a certain use; also of a document that is not a bundle at all. */
const keysFor = (bundle: JsonObject, use: string): JsonObject[] =>
  Array.isArray(bundle.keys) ? bundle.keys.filter(isJsonObject).filter((key) => key.use === use) : [];

const bundleClauses: readonly BundleClause[] = [
  {
    level: 'must',
    clause: 'Trust Domain and Bundle 4.1.3',
    demand: 'keys is a list of objects',
    problem: ({ keys }) =>
      unless(Array.isArray(keys) && keys.every(isJsonObject), 'keys is not a list of objects'),
  },
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.1.3',
    demand: 'there is a key that can be used, without which everything of the trust domain is revoked',
    problem: (bundle) =>
      unless(
        keysFor(bundle, 'x509-svid').length + keysFor(bundle, 'jwt-svid').length > 0,
        'there is no key that can be used, so everything of the trust domain is revoked',
      ),
  },
  wholeNumberWherePresent('spiffe_sequence', 'Trust Domain and Bundle 4.1.1'),
  shouldHave('spiffe_sequence', 'Trust Domain and Bundle 4.1.1'),
  wholeNumberWherePresent('spiffe_refresh_hint', 'Trust Domain and Bundle 4.1.2'),
  shouldHave('spiffe_refresh_hint', 'Trust Domain and Bundle 4.1.2'),
  {
    level: 'must',
    clause: 'JWT-SVID 6.1',
    demand: 'each jwt-svid key has a kid of its own',
    problem: (bundle) => {
      const ids = keysFor(bundle, 'jwt-svid').map(({ kid }) => kid);
      return unless(new Set(ids).size === ids.length, 'two jwt-svid keys have the same kid');
    },
  },
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.1',
    demand: 'there are no members that the standard does not name',
    problem: (bundle) => others(bundle, ['keys', 'spiffe_sequence', 'spiffe_refresh_hint']),
  },
];

const keyParameters = ['kty', 'use', 'crv', 'x', 'y', 'n', 'e'];

const commonKeyClauses: readonly KeyClause[] = [
  {
    level: 'must',
    clause: 'Trust Domain and Bundle 4.2.1',
    demand: 'kty is there',
    problem: ({ members: { kty } }) => unless(typeof kty === 'string', 'kty is missing'),
  },
  {
    level: 'must',
    clause: 'Trust Domain and Bundle 4.2.2',
    demand: 'use is there',
    problem: ({ members: { use } }) => unless(typeof use === 'string', 'use is missing'),
  },
];

const unknownKeyClauses: readonly KeyClause[] = [
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2; RFC 7517 5',
    demand: 'key type, curve and use are known',
    problem: ({ members }) => {
      const reason = unknownReason(members);
      return reason && `${reason}, so the key is ignored`;
    },
  },
];

const publicKeyClause: KeyClause = {
  level: 'must',
  clause: 'RFC 7518 6',
  demand: 'the key is a public one that can be read',
  problem: ({ publicKey }) => {
    const read = publicKey();
    return read.ok ? undefined : read.reason;
  },
};

const x509KeyClauses: readonly KeyClause[] = [
  {
    level: 'must',
    of: 'publisher',
    clause: 'X509-SVID 6.1',
    demand: 'an x509-svid key has no kid',
    problem: ({ members }) => unless(!('kid' in members), 'kid is there'),
  },
  {
    level: 'must',
    of: 'publisher',
    clause: 'X509-SVID 6.1',
    demand: 'x5c has exactly one certificate',
    problem: ({ members }) => {
      const { length } = x5cOf(members);
      return unless(length === 1, `x5c has ${length} elements`);
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 6.2',
    demand: 'the certificate in x5c can be read',
    problem: ({ certificate }) => {
      const read = certificate();
      return read.ok ? undefined : read.reason;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 6.1',
    demand: 'the certificate is one of a CA',
    problem: ({ certificate }) => {
      const read = certificate();
      return unless(!read.ok || read.value.isCa, 'the certificate is not one of a CA');
    },
  },
  publicKeyClause,
  {
    level: 'must',
    clause: 'RFC 7517 4.7',
    demand: 'the key is that of the certificate',
    problem: ({ certificate, publicKey }) => {
      const [of, key] = [certificate(), publicKey()];
      const isSame = !of.ok || (key.ok && isKeyOf(key.value, of.value));
      return unless(isSame, 'the key is not that of the certificate in x5c');
    },
  },
  {
    level: 'should',
    clause: 'X509-SVID 6.1',
    demand: 'the certificate is self-signed',
    problem: ({ certificate }) => {
      const read = certificate();
      return unless(!read.ok || isSignedBy(read.value, read.value), 'the certificate is not self-signed');
    },
  },
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2',
    demand: 'there are no members that the standard does not name',
    problem: ({ members }) => others(members, [...keyParameters, 'x5c']),
  },
];

const jwtKeyClauses: readonly KeyClause[] = [
  {
    level: 'must',
    clause: 'JWT-SVID 6.1',
    demand: 'a jwt-svid key has a kid',
    problem: ({ members: { kid } }) => unless(typeof kid === 'string' && kid !== '', 'kid is missing'),
  },
  publicKeyClause,
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2',
    demand: 'there are no members that the standard does not name',
    problem: ({ members }) => others(members, [...keyParameters, 'kid']),
  },
];

/** Why a reader has to leave a key out of the bundle, or undefined where it has to read it. */
export function ignoredReason(key: JsonObject): string | undefined {
  const isWithoutCertificate = key.use === 'x509-svid' && x5cOf(key).length === 0;
  if (isWithoutCertificate) return unknownReason(key) ?? 'x5c is missing or empty';
  return unknownReason(key) ?? unsupportedReason(key);
}

function unknownReason(key: JsonObject): string | undefined {
  const isForSvids = key.use === 'x509-svid' || key.use === 'jwt-svid';
  return unknownKindReason(key) ?? (isForSvids ? undefined : `use is ${shown(key.use)}`);
}

/** Every clause for the document around the keys, the fulfilled ones too. */
export function checkBundle(bundle: JsonObject): Finding[] {
  return check(bundleClauses, bundle, undefined);
}

/** Every clause for one key of a bundle, by its use: the requirements for its publisher. */
export function checkBundleKey(members: JsonObject): Finding[] {
  return check(keyClauses(members), bundleKeyOf(members), undefined);
}

/** The clauses without which a reader cannot use the key. */
export function checkKeyAsReader(key: BundleKey): Finding[] {
  const clauses = keyClauses(key.members).filter(({ of, level }) => of !== 'publisher' && level === 'must');
  return check(clauses, key, undefined);
}

function keyClauses(members: JsonObject): readonly KeyClause[] {
  if (unknownReason(members) !== undefined) return [...commonKeyClauses, ...unknownKeyClauses];
  return [...commonKeyClauses, ...(members.use === 'jwt-svid' ? jwtKeyClauses : x509KeyClauses)];
}
