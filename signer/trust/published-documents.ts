import { type JwtBundleKey, printJwks, printSpiffeBundle } from '../../spiffe/bundle.ts';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import type { Pool } from '../authority/pool.ts';
import { publishedJwtKeys, publishedRoots } from '../authority/published-content.ts';
import type { Publication } from './publication.ts';
import { noSiblings, type Siblings } from './siblings.ts';

/** A document that others verify us with. It depends only on pool and settings, so all replicas have the same. */
export interface PublishedDocument {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/**
 * The SPIFFE bundle: all published roots and JWT keys, and the sequence of the pool, which grows in the same write as
 * any change of content (Trust Domain and Bundle 4.1.1). Undefined if nothing is published: an empty bundle would
 * revoke the whole trust domain, which a pool without content does not mean.
 *
 * @param more what other clusters of the trust domain publish, and the sequence of all together.
 */
export function spiffeBundleDocument(
  pool: Pool,
  refreshHintSeconds: number,
  { siblings, sequence }: Omit<Publication, 'pool'> = { siblings: noSiblings, sequence: pool.sequence },
): PublishedDocument | undefined {
  const roots = withSiblings(publishedRoots(pool), siblings.roots, ({ sha256Hex }) => sha256Hex);
  const jwtKeys = withSiblings<JwtBundleKey>(publishedJwtKeys(pool), siblings.jwtKeys, ({ kid }) => kid);
  if (roots.length + jwtKeys.length === 0) return undefined;
  return json(printSpiffeBundle({ sequence, refreshHintSeconds, roots, jwtKeys }));
}

/** Our own first; what siblings also have occurs once. */
function withSiblings<T>(own: readonly T[], others: readonly T[], nameOf: (each: T) => string): T[] {
  const names = new Set(own.map(nameOf));
  return [...own, ...others.filter((each) => !names.has(nameOf(each)))];
}

/**
 * The SPIFFE bundles of several trust domains by their names, as gRPC reads them from a file (gRPC proposal A87): our own
 * and those that are federated. Undefined if we publish nothing.
 *
 * @param peers JSON of the bundles of other trust domains.
 */
export function bundleMapDocument(
  trustDomain: string,
  own: PublishedDocument | undefined,
  peers: ReadonlyMap<string, string>,
): PublishedDocument | undefined {
  if (!own) return undefined;
  const names = [...peers.keys()].filter((name) => name !== trustDomain).sort();
  const member = (name: string, text: string) => `${JSON.stringify(name)}:${text}`;
  // Put together as they are: reading a thousand of them would take longer than all else.
  const texts = [
    member(trustDomain, own.bytes.toString().trimEnd()),
    ...names.map((name) => member(name, peers.get(name) as string)),
  ];
  return json(`{"trust_domains":{${texts.join(',\n')}}}\n`);
}

/** The JWK set of OpenID Connect: the published JWT keys, for relying parties that do not support SPIFFE. */
export function jwksDocument(pool: Pool): PublishedDocument {
  return published(printJwks(publishedJwtKeys(pool)), 'application/jwk-set+json');
}

/** The algorithms of the published JWT keys, in a fixed order. */
export function publishedAlgorithms(pool: Pool): readonly JwtSigningAlgorithm[] {
  return [...new Set(publishedJwtKeys(pool).map(({ algorithm }) => algorithm))].sort();
}

/**
 * The discovery document (OpenID Connect Discovery 1.0, 3). The signer is no login server, so there is no
 * authorization endpoint. Kubernetes leaves it out of its own document as well, which all clouds accept.
 */
export function discoveryDocument(input: {
  /** As in the claim iss. */
  readonly issuer: string;
  readonly jwksUri: string;
  readonly algorithms: readonly string[];
}): PublishedDocument {
  const document = {
    issuer: input.issuer,
    jwks_uri: input.jwksUri,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: input.algorithms,
    claims_supported: ['sub', 'aud', 'exp', 'iat', 'iss', 'jti', 'nbf'],
  };
  return json(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** The published roots as PEM, for verifiers that need only certificates; undefined if there are none. */
export function rootsPem(
  pool: Pool,
  siblings: Pick<Siblings, 'roots'> = noSiblings,
): PublishedDocument | undefined {
  const roots = withSiblings(publishedRoots(pool), siblings.roots, ({ sha256Hex }) => sha256Hex);
  return roots.length === 0 ? undefined : published(certificatesPem(roots), 'application/x-pem-file');
}

function json(text: string): PublishedDocument {
  return published(text, 'application/json');
}

/** Also for documents that do not come from a pool. */
export function published(text: string, contentType: string): PublishedDocument {
  return { bytes: Buffer.from(text), contentType };
}
