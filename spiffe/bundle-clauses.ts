import { type BundleKey, bundleKeyOf, isKeyOf, x5cOf } from './bundle-key.ts';
import { type Clause, check, type Finding, must, should } from './clauses.ts';
import { isJsonObject, type JsonObject, shown } from './json.ts';
import { unknownKindReason, unsupportedReason } from './jwk.ts';
import { isSignedBy } from './pki/verify.ts';

type BundleClause = Clause<JsonObject>;

interface KeyClause extends Clause<BundleKey> {
  /** Whose duty it is: a reader continues if only the publisher has violated it. Absent: publisher and reader. */
  readonly of?: 'publisher';
}

/** A duty of the publisher alone. */
const mustPublish = (...row: Parameters<typeof must<BundleKey>>): KeyClause => ({
  ...must(...row),
  of: 'publisher',
});

const wholeNumberWherePresent = (name: string, clause: string): BundleClause =>
  must(clause, `${name}, where present, is a whole number, 0 or more`, ({ [name]: value }) => {
    const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    return value === undefined || isCount || `${name} is not a whole number`;
  });

const shouldHave = (name: string, clause: string): BundleClause =>
  should(clause, `${name} is present`, (bundle) => bundle[name] !== undefined || `${name} is missing`);

const noOthers = (value: JsonObject, known: readonly string[]): true | string => {
  const found = Object.keys(value).filter((name) => !known.includes(name));
  return found.length === 0 || `the standard does not name ${found.slice(0, 5).join(', ')}`;
};

/** The keys of a document that have a certain use; also of a document that is not a bundle at all. */
const keysFor = (bundle: JsonObject, use: string): JsonObject[] =>
  Array.isArray(bundle.keys) ? bundle.keys.filter(isJsonObject).filter((key) => key.use === use) : [];

const bundleClauses: readonly BundleClause[] = [
  must(
    'Trust Domain and Bundle 4.1.3',
    'keys is a list of objects',
    ({ keys }) => (Array.isArray(keys) && keys.every(isJsonObject)) || 'keys is not a list of objects',
  ),
  should(
    'Trust Domain and Bundle 4.1.3',
    'there is a key that can be used, without which everything of the trust domain is revoked',
    (bundle) =>
      keysFor(bundle, 'x509-svid').length + keysFor(bundle, 'jwt-svid').length > 0 ||
      'there is no key that can be used, so everything of the trust domain is revoked',
  ),
  wholeNumberWherePresent('spiffe_sequence', 'Trust Domain and Bundle 4.1.1'),
  shouldHave('spiffe_sequence', 'Trust Domain and Bundle 4.1.1'),
  wholeNumberWherePresent('spiffe_refresh_hint', 'Trust Domain and Bundle 4.1.2'),
  shouldHave('spiffe_refresh_hint', 'Trust Domain and Bundle 4.1.2'),
  must('JWT-SVID 6.1', 'each jwt-svid key has a kid of its own', (bundle) => {
    const ids = keysFor(bundle, 'jwt-svid').map(({ kid }) => kid);
    return new Set(ids).size === ids.length || 'two jwt-svid keys have the same kid';
  }),
  should('Trust Domain and Bundle 4.1', 'there are no members that the standard does not name', (bundle) =>
    noOthers(bundle, ['keys', 'spiffe_sequence', 'spiffe_refresh_hint']),
  ),
];

const commonKeyClauses: readonly KeyClause[] = [
  must(
    'Trust Domain and Bundle 4.2.1',
    'kty is present',
    ({ members: { kty } }) => typeof kty === 'string' || 'kty is missing',
  ),
  must(
    'Trust Domain and Bundle 4.2.2',
    'use is present',
    ({ members: { use } }) => typeof use === 'string' || 'use is missing',
  ),
];

const unknownKeyClauses: readonly KeyClause[] = [
  should('Trust Domain and Bundle 4.2; RFC 7517 5', 'key type, curve and use are known', ({ members }) => {
    const reason = unknownReason(members);
    return reason === undefined || `${reason}, so the key is ignored`;
  }),
];

const publicKeyClause: KeyClause = must(
  'RFC 7518 6',
  'the key is a public one that can be read',
  ({ publicKey }) => {
    const read = publicKey();
    return read.ok || read.reason;
  },
);

const onlyMembers = (own: 'x5c' | 'kid'): KeyClause =>
  should(
    'Trust Domain and Bundle 4.2',
    'there are no members that the standard does not name',
    ({ members }) => noOthers(members, ['kty', 'use', 'crv', 'x', 'y', 'n', 'e', own]),
  );

const x509KeyClauses: readonly KeyClause[] = [
  mustPublish(
    'X509-SVID 6.1',
    'an x509-svid key has no kid',
    ({ members }) => !('kid' in members) || 'kid is present',
  ),
  mustPublish('X509-SVID 6.1', 'x5c has exactly one certificate', ({ members }) => {
    const { length } = x5cOf(members);
    return length === 1 || `x5c has ${length} elements`;
  }),
  must('X509-SVID 6.2', 'the certificate in x5c can be read', ({ certificate }) => {
    const read = certificate();
    return read.ok || read.reason;
  }),
  must('X509-SVID 6.1', 'the certificate is one of a CA', ({ certificate }) => {
    const read = certificate();
    return !read.ok || read.value.isCa || 'the certificate is not one of a CA';
  }),
  publicKeyClause,
  must('RFC 7517 4.7', 'the key is that of the certificate', ({ certificate, publicKey }) => {
    const [of, key] = [certificate(), publicKey()];
    const isSame = !of.ok || (key.ok && isKeyOf(key.value, of.value));
    return isSame || 'the key is not that of the certificate in x5c';
  }),
  should('X509-SVID 6.1', 'the certificate is self-signed', ({ certificate }) => {
    const read = certificate();
    return !read.ok || isSignedBy(read.value, read.value) || 'the certificate is not self-signed';
  }),
  onlyMembers('x5c'),
];

const jwtKeyClauses: readonly KeyClause[] = [
  must(
    'JWT-SVID 6.1',
    'a jwt-svid key has a kid',
    ({ members: { kid } }) => (typeof kid === 'string' && kid !== '') || 'kid is missing',
  ),
  publicKeyClause,
  onlyMembers('kid'),
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
