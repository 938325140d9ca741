import { certificateOf, isKeyOf, x5cOf } from './bundle-key.ts';
import { type Clause, check, type Finding, unless } from './clauses.ts';
import { isJsonObject, type JsonObject, shown } from './json.ts';
import { readPublicJwk, unknownKindReason, unsupportedReason } from './jwk.ts';
import { isSignedBy } from './pki/verify.ts';

interface BundleClause extends Clause<JsonObject> {
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

const commonKeyClauses: readonly BundleClause[] = [
  {
    level: 'must',
    clause: 'Trust Domain and Bundle 4.2.1',
    demand: 'kty is there',
    problem: ({ kty }) => unless(typeof kty === 'string', 'kty is missing'),
  },
  {
    level: 'must',
    clause: 'Trust Domain and Bundle 4.2.2',
    demand: 'use is there',
    problem: ({ use }) => unless(typeof use === 'string', 'use is missing'),
  },
];

const unknownKeyClauses: readonly BundleClause[] = [
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2; RFC 7517 5',
    demand: 'key type, curve and use are known',
    problem: (key) => {
      const reason = unknownReason(key);
      return reason && `${reason}, so the key is ignored`;
    },
  },
];

const publicKeyClause: BundleClause = {
  level: 'must',
  clause: 'RFC 7518 6',
  demand: 'the key is a public one that can be read',
  problem: (key) => {
    const publicKey = readPublicJwk(key);
    return publicKey.ok ? undefined : publicKey.reason;
  },
};

const x509KeyClauses: readonly BundleClause[] = [
  {
    level: 'must',
    of: 'publisher',
    clause: 'X509-SVID 6.1',
    demand: 'an x509-svid key has no kid',
    problem: (key) => unless(!('kid' in key), 'kid is there'),
  },
  {
    level: 'must',
    of: 'publisher',
    clause: 'X509-SVID 6.1',
    demand: 'x5c has exactly one certificate',
    problem: (key) => unless(x5cOf(key).length === 1, `x5c has ${x5cOf(key).length} elements`),
  },
  {
    level: 'must',
    clause: 'X509-SVID 6.2',
    demand: 'the certificate in x5c can be read',
    problem: (key) => {
      const read = certificateOf(key);
      return read.ok ? undefined : read.reason;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 6.1',
    demand: 'the certificate is one of a CA',
    problem: (key) => {
      const read = certificateOf(key);
      return unless(!read.ok || read.value.isCa, 'the certificate is not one of a CA');
    },
  },
  publicKeyClause,
  {
    level: 'must',
    clause: 'RFC 7517 4.7',
    demand: 'the key is that of the certificate',
    problem: (key) => {
      const read = certificateOf(key);
      return unless(!read.ok || isKeyOf(key, read.value), 'the key is not that of the certificate in x5c');
    },
  },
  {
    level: 'should',
    clause: 'X509-SVID 6.1',
    demand: 'the certificate is self-signed',
    problem: (key) => {
      const read = certificateOf(key);
      return unless(!read.ok || isSignedBy(read.value, read.value), 'the certificate is not self-signed');
    },
  },
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2',
    demand: 'there are no members that the standard does not name',
    problem: (key) => others(key, [...keyParameters, 'x5c']),
  },
];

const jwtKeyClauses: readonly BundleClause[] = [
  {
    level: 'must',
    clause: 'JWT-SVID 6.1',
    demand: 'a jwt-svid key has a kid',
    problem: ({ kid }) => unless(typeof kid === 'string' && kid !== '', 'kid is missing'),
  },
  publicKeyClause,
  {
    level: 'should',
    clause: 'Trust Domain and Bundle 4.2',
    demand: 'there are no members that the standard does not name',
    problem: (key) => others(key, [...keyParameters, 'kid']),
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
export function checkBundleKey(key: JsonObject): Finding[] {
  return check(keyClauses(key), key, undefined);
}

/** The clauses without which a reader cannot use the key. */
export function checkKeyAsReader(key: JsonObject): Finding[] {
  const clauses = keyClauses(key).filter(({ of }) => of !== 'publisher');
  return check(clauses, key, undefined);
}

function keyClauses(key: JsonObject): readonly BundleClause[] {
  if (unknownReason(key) !== undefined) return [...commonKeyClauses, ...unknownKeyClauses];
  return [...commonKeyClauses, ...(key.use === 'jwt-svid' ? jwtKeyClauses : x509KeyClauses)];
}
