import { type Clause, check, type Finding, must, should } from './clauses.ts';
import { parseSpiffeId } from './id.ts';
import { shown } from './json.ts';
import { isJwtAlgorithm } from './jwt-algorithms.ts';
import { audiencesOf, type ParsedJwt } from './jwt-svid.ts';

/** What a token is checked against. */
export interface JwtExpectations {
  /** Seconds since the epoch. */
  readonly now: number;
  /** How far the clocks may be apart, in seconds. Default 60. */
  readonly toleranceSeconds?: number;
  /** The verifier's own name; not asked for where absent. */
  readonly audience?: string | undefined;
  readonly trustDomain?: string | undefined;
}

type JwtClause = Clause<ParsedJwt, JwtExpectations & { readonly toleranceSeconds: number }>;

/** NumericDate (RFC 7519 2), within what a Date can say: 1e400 and -1 are no times. */
const isTime = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= 8_640_000_000_000;

const idOf = (jwt: ParsedJwt) => parseSpiffeId(typeof jwt.claims.sub === 'string' ? jwt.claims.sub : '');

/** A time that, where present, lies in the past. */
const startsBy = (name: 'iat' | 'nbf', clause: string): JwtClause =>
  must(clause, `${name}, where present, is a time that has come`, ({ claims }, { now, toleranceSeconds }) => {
    const value = claims[name];
    if (value === undefined) return true;
    if (!isTime(value)) return `${name} is not a time in seconds`;
    return value <= now + toleranceSeconds || `${name} lies ${Math.ceil(value - now)} s in the future`;
  });

const textWherePresent = (name: 'iss' | 'jti', clause: string): JwtClause =>
  must(
    clause,
    `${name}, where present, is a string`,
    ({ claims: { [name]: value } }) =>
      value === undefined || typeof value === 'string' || `${name} is not a string`,
  );

/** What the standard demands of a JWT-SVID, the signature apart. */
const jwtClauses: readonly JwtClause[] = [
  must(
    'JWT-SVID 2.1',
    'alg is one of the nine algorithms of JWT-SVIDs',
    ({ header: { alg } }) => isJwtAlgorithm(alg) || `alg is ${shown(alg)}`,
  ),
  must('JWT-SVID 2', 'the header holds nothing but alg, kid and typ', ({ header }) => {
    const others = Object.keys(header).filter((name) => !['alg', 'kid', 'typ'].includes(name));
    return others.length === 0 || `the header holds ${others.map(shown).join(', ')} too`;
  }),
  must('RFC 7515 4.1.4', 'kid, where present, is a string', ({ header: { kid } }) => {
    const isText = typeof kid === 'string' && kid !== '';
    return kid === undefined || isText || 'kid is not a string, or empty';
  }),
  should(
    'JWT-SVID 2.2',
    'kid is present, without which most libraries refuse the token',
    ({ header: { kid } }) => kid !== undefined || 'kid is missing',
  ),
  must(
    'JWT-SVID 2.3',
    'typ, where present, is JWT or JOSE',
    ({ header: { typ } }) => typ === undefined || typ === 'JWT' || typ === 'JOSE' || `typ is ${shown(typ)}`,
  ),
  must('JWT-SVID 3.1', 'sub is the SPIFFE ID of a workload', (jwt) => {
    if (typeof jwt.claims.sub !== 'string') return 'sub is missing, or not a string';
    const id = idOf(jwt);
    if (!id.ok) return id.reason;
    return id.value.path !== '' || 'sub has no path, so it names a trust domain and not a workload';
  }),
  must('SPIFFE-ID 2.1', 'sub is of the expected trust domain', (jwt, { trustDomain }) => {
    if (trustDomain === undefined) return true;
    const id = idOf(jwt);
    const isExpected = id.ok && id.value.trustDomain === trustDomain;
    return isExpected || `sub is not of the trust domain ${trustDomain}`;
  }),
  must('JWT-SVID 3.2', 'aud names at least one audience', ({ claims }) => {
    if (claims.aud === undefined) return 'aud is missing';
    const audiences = audiencesOf(claims);
    if (!audiences) return 'aud is neither a string nor a list of strings';
    return (audiences.length > 0 && !audiences.includes('')) || 'aud is empty, or has an empty member';
  }),
  must('JWT-SVID 3.2', 'the expected audience is one of those of the token', ({ claims }, { audience }) => {
    const isNamed = audience === undefined || audiencesOf(claims)?.includes(audience);
    return isNamed || `the audience ${shown(audience)} is not one of those of the token`;
  }),
  should(
    'JWT-SVID 3.2',
    'there is one audience, so that who receives the token cannot use it elsewhere',
    ({ claims }) => {
      const { length } = audiencesOf(claims) ?? [];
      return length <= 1 || `there are ${length} audiences`;
    },
  ),
  must(
    'JWT-SVID 3.3',
    'exp is present and has not come',
    ({ claims: { exp } }, { now, toleranceSeconds }) => {
      if (!isTime(exp)) return exp === undefined ? 'exp is missing' : 'exp is not a time in seconds';
      return now < exp + toleranceSeconds || `the token expired ${Math.floor(now - exp)} s ago`;
    },
  ),
  startsBy('nbf', 'RFC 7519 4.1.5'),
  startsBy('iat', 'RFC 7519 4.1.6'),
  textWherePresent('iss', 'RFC 7519 4.1.1'),
  textWherePresent('jti', 'RFC 7519 4.1.7'),
];

/** Every clause for a JWT-SVID, the fulfilled ones too. The signature is not judged here. */
export function checkJwtSvid(jwt: ParsedJwt, expected: JwtExpectations): Finding[] {
  return check(jwtClauses, jwt, { ...expected, toleranceSeconds: expected.toleranceSeconds ?? 60 });
}
