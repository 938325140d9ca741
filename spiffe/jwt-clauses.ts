import { type Clause, check, type Finding, unless } from './clauses.ts';
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
const startsBy = (name: 'iat' | 'nbf', clause: string): JwtClause => ({
  level: 'must',
  clause,
  demand: `${name}, where present, is a time that has come`,
  problem: ({ claims }, { now, toleranceSeconds }) => {
    const value = claims[name];
    if (value === undefined) return undefined;
    if (!isTime(value)) return `${name} is not a time in seconds`;
    return unless(value <= now + toleranceSeconds, `${name} lies ${Math.ceil(value - now)} s in the future`);
  },
});

const textWherePresent = (name: 'iss' | 'jti'): JwtClause => ({
  level: 'must',
  clause: `RFC 7519 4.1.${name === 'iss' ? 1 : 7}`,
  demand: `${name}, where present, is a string`,
  problem: ({ claims }) =>
    unless(claims[name] === undefined || typeof claims[name] === 'string', `${name} is not a string`),
});

/** What the standard demands of a JWT-SVID, the signature apart. */
const jwtClauses: readonly JwtClause[] = [
  {
    level: 'must',
    clause: 'JWT-SVID 2.1',
    demand: 'alg is one of the nine algorithms of JWT-SVIDs',
    problem: ({ header: { alg } }) => unless(isJwtAlgorithm(alg), `alg is ${shown(alg)}`),
  },
  {
    level: 'must',
    clause: 'JWT-SVID 2',
    demand: 'the header holds nothing but alg, kid and typ',
    problem: ({ header }) => {
      const others = Object.keys(header).filter((name) => !['alg', 'kid', 'typ'].includes(name));
      return unless(others.length === 0, `the header holds ${others.map(shown).join(', ')} too`);
    },
  },
  {
    level: 'must',
    clause: 'RFC 7515 4.1.4',
    demand: 'kid, where present, is a string',
    problem: ({ header: { kid } }) =>
      unless(kid === undefined || (typeof kid === 'string' && kid !== ''), 'kid is not a string, or empty'),
  },
  {
    level: 'should',
    clause: 'JWT-SVID 2.2',
    demand: 'kid is present, without which most libraries refuse the token',
    problem: ({ header: { kid } }) => unless(kid !== undefined, 'kid is missing'),
  },
  {
    level: 'must',
    clause: 'JWT-SVID 2.3',
    demand: 'typ, where present, is JWT or JOSE',
    problem: ({ header: { typ } }) =>
      unless(typ === undefined || typ === 'JWT' || typ === 'JOSE', `typ is ${shown(typ)}`),
  },
  {
    level: 'must',
    clause: 'JWT-SVID 3.1',
    demand: 'sub is the SPIFFE ID of a workload',
    problem: (jwt) => {
      if (typeof jwt.claims.sub !== 'string') return 'sub is missing, or not a string';
      const id = idOf(jwt);
      if (!id.ok) return id.reason;
      return unless(id.value.path !== '', 'sub has no path, so it names a trust domain and not a workload');
    },
  },
  {
    level: 'must',
    clause: 'SPIFFE-ID 2.1',
    demand: 'sub is of the expected trust domain',
    problem: (jwt, { trustDomain }) => {
      if (trustDomain === undefined) return undefined;
      const id = idOf(jwt);
      return unless(
        id.ok && id.value.trustDomain === trustDomain,
        `sub is not of the trust domain ${trustDomain}`,
      );
    },
  },
  {
    level: 'must',
    clause: 'JWT-SVID 3.2',
    demand: 'aud names at least one audience',
    problem: ({ claims }) => {
      if (claims.aud === undefined) return 'aud is missing';
      const audiences = audiencesOf(claims);
      if (!audiences) return 'aud is neither a string nor a list of strings';
      return unless(audiences.length > 0 && !audiences.includes(''), 'aud is empty, or has an empty member');
    },
  },
  {
    level: 'must',
    clause: 'JWT-SVID 3.2',
    demand: 'the expected audience is one of those of the token',
    problem: ({ claims }, { audience }) =>
      audience === undefined
        ? undefined
        : unless(
            audiencesOf(claims)?.includes(audience) ?? false,
            `the audience ${shown(audience)} is not one of those of the token`,
          ),
  },
  {
    level: 'should',
    clause: 'JWT-SVID 3.2',
    demand: 'there is one audience, so that who receives the token cannot use it elsewhere',
    problem: ({ claims }) => {
      const count = audiencesOf(claims)?.length ?? 0;
      return unless(count <= 1, `there are ${count} audiences`);
    },
  },
  {
    level: 'must',
    clause: 'JWT-SVID 3.3',
    demand: 'exp is present and has not come',
    problem: ({ claims: { exp } }, { now, toleranceSeconds }) => {
      if (!isTime(exp)) return exp === undefined ? 'exp is missing' : 'exp is not a time in seconds';
      return unless(now < exp + toleranceSeconds, `the token expired ${Math.floor(now - exp)} s ago`);
    },
  },
  startsBy('nbf', 'RFC 7519 4.1.5'),
  startsBy('iat', 'RFC 7519 4.1.6'),
  textWherePresent('iss'),
  textWherePresent('jti'),
];

/** Every clause for a JWT-SVID, the fulfilled ones too. The signature is not judged here. */
export function checkJwtSvid(jwt: ParsedJwt, expected: JwtExpectations): Finding[] {
  return check(jwtClauses, jwt, { ...expected, toleranceSeconds: expected.toleranceSeconds ?? 60 });
}
