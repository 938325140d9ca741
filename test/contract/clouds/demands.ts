/**
 * What relying parties demand of an issuer and of its tokens, as data: each demand with the place where it is written,
 * how to see that it is kept, and a change that breaks it. Here is what all of them take from the standards.
 */

/** A JWK as it is published. */
export type PublishedJwk = Readonly<Record<string, unknown>>;

/** What a relying party gets to see of us. */
export interface Seen {
  /** The URL that the relying party is given. */
  readonly issuer: string;
  readonly discovery: Readonly<Record<string, unknown>>;
  readonly keys: readonly PublishedJwk[];
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Length of the token in characters. */
  readonly tokenLength: number;
  /** Seconds since the epoch. */
  readonly now: number;
}

export interface Requirement {
  readonly demand: string;
  readonly source: string;
  readonly holds: (seen: Seen) => boolean;
  /** What would break it, so that a demand which everything fulfils is noticed. */
  readonly broken: (seen: Seen) => Seen;
}

export const sources = {
  discovery: 'OpenID Connect Discovery 1.0, section 3',
  discoveryRequest: 'OpenID Connect Discovery 1.0, section 4',
  jwks: 'RFC 7517, section 4',
  aws: 'AWS IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in IAM"',
  awsProvider: 'AWS IAM API Reference, CreateOpenIDConnectProvider',
  awsSts: 'AWS STS API Reference, AssumeRoleWithWebIdentity',
  google:
    'Google Cloud IAM documentation, "Configure Workload Identity Federation with other identity providers"',
  googleProvider:
    'Google IAM API reference, projects.locations.workloadIdentityPools.providers (attributeMapping, oidc)',
  googleSts: 'Google Security Token Service API reference, v1.token (subjectToken)',
  entra:
    'Microsoft Entra documentation, "Important considerations and restrictions for federated identity credentials"',
  entraIssue: 'AzureAD/microsoft-identity-web#3467 (AADSTS5002738: ES256 is not supported)',
  entraKey: 'Azure/azure-workload-identity#1232 (AADSTS7000272: the key is looked up by kid)',
  vault: 'Vault documentation, "JWT/OIDC auth method (API)"',
  vaultLibrary: 'hashicorp/cap, jwt/jwt.go and jwt/keyset.go, which Vault verifies with',
} as const;

export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const bytes = (value: unknown): number => Buffer.byteLength(text(value));
export const claim = (seen: Seen, name: string, value: unknown): Seen => ({
  ...seen,
  claims: { ...seen.claims, [name]: value },
});
const inDiscovery = (seen: Seen, name: string, value: unknown): Seen => ({
  ...seen,
  discovery: { ...seen.discovery, [name]: value },
});
export const eachKey = (seen: Seen, change: PublishedJwk): Seen => ({
  ...seen,
  keys: seen.keys.map((key) => ({ ...key, ...change })),
});
export const otherIssuer = (seen: Seen, issuer: string): Seen => ({
  ...inDiscovery(claim(seen, 'iss', issuer), 'issuer', issuer),
  issuer,
});

export const common: readonly Requirement[] = [
  {
    demand: 'the issuer is an https URL without query and fragment',
    source: sources.discovery,
    holds: ({ issuer }) => {
      const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
      return url?.protocol === 'https:' && url.search === '' && url.hash === '' && url.username === '';
    },
    broken: (seen) => otherIssuer(seen, `${seen.issuer}?tenant=1`),
  },
  {
    demand: 'the issuer of the document is the URL that it was asked for, letter for letter',
    source: sources.discoveryRequest,
    holds: ({ issuer, discovery }) => discovery.issuer === issuer,
    broken: (seen) => inDiscovery(seen, 'issuer', `${seen.issuer}/`),
  },
  {
    demand: 'the claim iss is that issuer, letter for letter',
    source: sources.discovery,
    holds: ({ issuer, claims }) => claims.iss === issuer,
    broken: (seen) => claim(seen, 'iss', `${seen.issuer}/`),
  },
  {
    demand: 'jwks_uri is an https URL',
    source: sources.discovery,
    holds: ({ discovery }) => text(discovery.jwks_uri).startsWith('https://'),
    broken: (seen) => inDiscovery(seen, 'jwks_uri', 'http://id.example.org/keys'),
  },
  {
    demand: 'the document says response types, subject types and algorithms, as lists that are not empty',
    source: sources.discovery,
    holds: ({ discovery }) =>
      ['response_types_supported', 'subject_types_supported', 'id_token_signing_alg_values_supported'].every(
        (name) => list(discovery[name]).length > 0,
      ),
    broken: (seen) => inDiscovery(seen, 'subject_types_supported', undefined),
  },
  {
    demand: 'RS256 is among the algorithms',
    source: sources.discovery,
    holds: ({ discovery }) => list(discovery.id_token_signing_alg_values_supported).includes('RS256'),
    broken: (seen) => inDiscovery(seen, 'id_token_signing_alg_values_supported', ['ES256']),
  },
  {
    demand: 'the algorithm of the token is one of those that the document says',
    source: sources.discovery,
    holds: ({ discovery, header }) =>
      list(discovery.id_token_signing_alg_values_supported).includes(header.alg),
    broken: (seen) => ({ ...seen, header: { ...seen.header, alg: 'PS256' } }),
  },
  {
    demand: 'each key is for signatures, says its algorithm and has a name of its own',
    source: sources.jwks,
    holds: ({ keys }) =>
      keys.length > 0 &&
      keys.every(({ use, alg, kid }) => use === 'sig' && text(alg) !== '' && text(kid) !== '') &&
      new Set(keys.map(({ kid }) => kid)).size === keys.length,
    broken: (seen) => eachKey(seen, { use: 'jwt-svid' }),
  },
  {
    demand: 'no key has a private member',
    source: 'RFC 7518, section 6',
    holds: ({ keys }) => keys.every((key) => !['d', 'p', 'q', 'k'].some((name) => name in key)),
    broken: (seen) => eachKey(seen, { d: 'AA' }),
  },
  {
    demand: 'exactly one key has the kid and the algorithm of the token',
    source: sources.jwks,
    holds: ({ keys, header }) =>
      keys.filter(({ kid, alg }) => kid === header.kid && alg === header.alg).length === 1,
    broken: (seen) => ({ ...seen, header: { ...seen.header, kid: 'another' } }),
  },
  {
    demand: 'iat and nbf are in the past and exp in the future, in whole seconds',
    source: 'RFC 7519, section 4.1',
    holds: ({ claims: { iat, nbf, exp }, now }) =>
      [iat, nbf, exp].every(Number.isInteger) &&
      Number(iat) <= now &&
      Number(nbf) <= now &&
      Number(exp) > now,
    broken: (seen) => claim(seen, 'iat', seen.now + 60),
  },
];
