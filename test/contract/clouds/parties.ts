import {
  bytes,
  claim,
  common,
  eachKey,
  otherIssuer,
  type PublishedJwk,
  type Requirement,
  type Seen,
  sources,
  text,
} from './demands.ts';

export interface RelyingParty {
  readonly name: string;
  /** The audience that its documentation gives, which tokens for it have. */
  readonly audience: string;
  readonly algorithms: readonly string[];
  /** Longest `sub`, in bytes; undefined where none is documented. */
  readonly maxSubjectBytes: number | undefined;
  readonly requirements: readonly Requirement[];
}

const count = (keys: readonly PublishedJwk[], kty: string) => keys.filter((key) => key.kty === kty).length;

/** The audience that was configured is the only one, as a string: the form that every one of them reads. */
const oneAudience = (audience: string, source: string): Requirement => ({
  demand: `aud is the string ${audience}`,
  source,
  holds: ({ claims }) => claims.aud === audience,
  broken: (seen) => claim(seen, 'aud', [audience, 'https://other.example.com']),
});

const maxSubject = (most: number, source: string): Requirement => ({
  demand: `sub has at most ${most} bytes`,
  source,
  holds: ({ claims }) => bytes(claims.sub) >= 1 && bytes(claims.sub) <= most,
  broken: (seen) => claim(seen, 'sub', `spiffe://example.org/${'a'.repeat(most)}`),
});

const algorithm = (names: readonly string[], source: string): Requirement => ({
  demand: `the token is signed with ${names.join(', ')}`,
  source,
  holds: ({ header }) => names.includes(text(header.alg)),
  broken: (seen) => ({ ...seen, header: { ...seen.header, alg: 'PS512' } }),
});

const aws: RelyingParty = {
  name: 'AWS IAM',
  audience: 'sts.amazonaws.com',
  algorithms: ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'],
  maxSubjectBytes: 255,
  requirements: [
    algorithm(['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'], sources.aws),
    oneAudience('sts.amazonaws.com', sources.awsProvider),
    maxSubject(255, `${sources.awsSts} (SubjectFromWebIdentityToken: 6 to 255)`),
    {
      demand: 'the issuer has at most 255 characters and no port',
      source: sources.awsProvider,
      holds: ({ issuer }) => issuer.length <= 255 && new URL(issuer).port === '',
      broken: (seen) => otherIssuer(seen, 'https://id.example.org:8443'),
    },
    {
      demand: 'the key set has a key, and at most 100 RSA and 100 EC keys',
      source: sources.aws,
      holds: ({ keys }) => keys.length > 0 && count(keys, 'RSA') <= 100 && count(keys, 'EC') <= 100,
      broken: (seen) => ({ ...seen, keys: [] }),
    },
    {
      demand: 'the token has at most 20,000 characters',
      source: sources.awsSts,
      holds: ({ tokenLength }) => tokenLength <= 20_000,
      broken: (seen) => ({ ...seen, tokenLength: 20_001 }),
    },
    {
      demand: 'the audience has at most 255 characters',
      source: sources.awsProvider,
      holds: ({ claims }) => text(claims.aud).length <= 255,
      broken: (seen) => claim(seen, 'aud', 'a'.repeat(256)),
    },
  ],
};

const googleAudience =
  'https://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/pods/providers/kubespiffe';

const google: RelyingParty = {
  name: 'Google Cloud Workload Identity Federation',
  audience: googleAudience,
  algorithms: ['RS256', 'ES256'],
  maxSubjectBytes: 127,
  requirements: [
    algorithm(['RS256', 'ES256'], sources.googleSts),
    oneAudience(googleAudience, sources.googleProvider),
    maxSubject(127, `${sources.googleProvider}: google.subject cannot exceed 127 bytes`),
    {
      demand: 'the header has kid and alg, the claims iss, iat, exp, sub and aud',
      source: sources.googleSts,
      holds: ({ header, claims }) =>
        ['kid', 'alg'].every((name) => name in header) &&
        ['iss', 'iat', 'exp', 'sub', 'aud'].every((name) => name in claims),
      broken: (seen) => ({ ...seen, header: { alg: seen.header.alg } }),
    },
    {
      demand: 'exp is less than 48 hours after iat',
      source: sources.googleSts,
      holds: ({ claims: { iat, exp } }) => Number(exp) - Number(iat) < 48 * 3600,
      broken: (seen) => claim(seen, 'exp', Number(seen.claims.iat) + 48 * 3600),
    },
    {
      demand: 'the keys are RSA or EC, and have no members but kty, alg, use, kid, n, e, x, y, crv',
      source: `${sources.googleProvider}: jwksJson, for issuers that are not on the Internet`,
      holds: ({ keys }) =>
        keys.every(
          (key) =>
            ['RSA', 'EC'].includes(text(key.kty)) &&
            Object.keys(key).every((name) =>
              ['kty', 'alg', 'use', 'kid', 'n', 'e', 'x', 'y', 'crv'].includes(name),
            ),
        ),
      broken: (seen) => eachKey(seen, { x5c: [] }),
    },
    {
      demand: 'the audience has at most 256 characters',
      source: sources.googleProvider,
      holds: ({ claims }) => text(claims.aud).length <= 256,
      broken: (seen) => claim(seen, 'aud', 'a'.repeat(257)),
    },
  ],
};

const entra: RelyingParty = {
  name: 'Microsoft Entra',
  audience: 'api://AzureADTokenExchange',
  algorithms: ['RS256'],
  maxSubjectBytes: 600,
  requirements: [
    algorithm(['RS256'], `${sources.entra}; ${sources.entraIssue}`),
    oneAudience('api://AzureADTokenExchange', sources.entra),
    maxSubject(600, sources.entra),
    {
      demand: 'the issuer has at most 600 characters and no white space around it',
      source: sources.entra,
      holds: ({ issuer }) => issuer.length <= 600 && issuer === issuer.trim(),
      broken: (seen) => otherIssuer(seen, `${seen.issuer} `),
    },
    {
      demand: 'the header names its key by kid, which is in the key set',
      source: sources.entraKey,
      holds: ({ header, keys }) => keys.some(({ kid }) => kid === header.kid),
      broken: (seen) => ({ ...seen, keys: [] }),
    },
  ],
};

const vault: RelyingParty = {
  name: 'Vault',
  audience: 'https://vault.example.com',
  algorithms: ['RS256', 'ES256'],
  maxSubjectBytes: undefined,
  requirements: [
    algorithm(
      ['RS256', 'ES256'],
      `${sources.vaultLibrary}: RS256 unless jwt_supported_algs says more, as the guide does`,
    ),
    oneAudience('https://vault.example.com', `${sources.vault}: bound_audiences`),
    {
      demand: 'the document is at the issuer without a final /, and says the same issuer',
      source: sources.vaultLibrary,
      holds: ({ issuer, discovery }) => !issuer.endsWith('/') && discovery.issuer === issuer,
      broken: (seen) => otherIssuer(seen, `${seen.issuer}/`),
    },
    {
      demand: 'user_claim (sub) is a string',
      source: sources.vault,
      holds: ({ claims }) => text(claims.sub) !== '',
      broken: (seen) => claim(seen, 'sub', ['a']),
    },
    {
      demand: 'one of iat, nbf and exp is there',
      source: sources.vaultLibrary,
      holds: ({ claims }) => ['iat', 'nbf', 'exp'].some((name) => Number(claims[name]) > 0),
      broken: (seen) => ({ ...seen, claims: { ...seen.claims, iat: 0, nbf: 0, exp: 0 } }),
    },
  ],
};

/** What AWS, Google Cloud, Microsoft Entra and Vault document that they demand. */
export const relyingParties: readonly RelyingParty[] = [aws, google, entra, vault].map((party) => ({
  ...party,
  requirements: [...common, ...party.requirements],
}));

/** The demands that are not met. */
export function unmet(party: RelyingParty, seen: Seen): string[] {
  return party.requirements
    .filter(({ holds }) => !holds(seen))
    .map(({ demand, source }) => `${demand} (${source})`);
}
