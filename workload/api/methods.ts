import { messageOf } from '../../spiffe/errors.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { parseJwt } from '../../spiffe/jwt-svid.ts';
import { verifyJwtSvid } from '../../spiffe/jwt-verify.ts';
import { isTooDeep, maxClaimLevels, type Struct, structOf } from './claims.ts';
import { invalid, type Refusal, refusals, unavailable } from './refusal.ts';
import type { ApiJwtSvid, WorkloadSource, WorkloadState } from './state.ts';

/** What a method answers, or why it does not. */
export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: Refusal };

const answer = <T>(value: T): Answer<T> => ({ ok: true, value });
const refuse = (refusal: Refusal): Answer<never> => ({ ok: false, refusal });

/** Longest token that is read, in characters. */
const maxTokenLength = 16 * 1024;
const maxAudiences = 32;

/** Bundles are keyed by the SPIFFE ID of their trust domain. Their certificates stand one after another. */
const byTrustDomainId = (bundles: Iterable<readonly [name: string, bundle: readonly Uint8Array[]]>) =>
  Object.fromEntries(Array.from(bundles, ([name, bundle]) => [`spiffe://${name}`, Buffer.concat(bundle)]));

/** FetchX509SVID (Workload API 5.2.1). The bundle of its own trust domain is in each SVID. Pure. */
export function x509SvidResponse({ svids, x509Bundles }: WorkloadState): Answer<object> {
  if (svids.length === 0) return refuse(refusals.noIdentity);
  const own = new Set(svids.map(({ trustDomain }) => trustDomain));
  const federated = [...x509Bundles].filter(([name]) => !own.has(name));
  return answer({
    svids: svids.map(({ spiffeId, chain, key, bundle, hint }) => ({
      spiffe_id: spiffeId,
      x509_svid: Buffer.concat(chain),
      x509_svid_key: key,
      bundle: Buffer.concat(bundle),
      hint,
    })),
    federated_bundles: byTrustDomainId(federated),
  });
}

/** FetchX509Bundles (Workload API 5.2.2). Pure. */
export function x509BundlesResponse({ x509Bundles }: WorkloadState): Answer<object> {
  if (x509Bundles.size === 0) return refuse(refusals.noBundles);
  return answer({ bundles: byTrustDomainId(x509Bundles) });
}

/** FetchJWTBundles (Workload API 6.2.2): JWK sets with JWT keys only. Pure. */
export function jwtBundlesResponse({ jwtBundles }: WorkloadState): Answer<object> {
  if (jwtBundles.size === 0) return refuse(refusals.noJwtKeys);
  const documents = [...jwtBundles].map(([name, { jwks }]) => [name, [Buffer.from(jwks)]] as const);
  return answer({ bundles: byTrustDomainId(documents) });
}

/** FetchJWTSVID (Workload API 6.2.1): one token for each identity, or for the one that is asked for. */
export async function fetchJwtSvid(
  request: { readonly audience: readonly string[]; readonly spiffe_id: string },
  source: WorkloadSource,
): Promise<Answer<object>> {
  const { audience: audiences, spiffe_id: wanted } = request;
  if (audiences.length === 0 || audiences.includes(''))
    return refuse(invalid('audience is empty; name one at least'));
  // What takes the place of bytes that are not UTF-8: the token would be for another audience.
  if (audiences.some((audience) => audience.includes('\ufffd')))
    return refuse(invalid('audience is not UTF-8'));
  if (audiences.length > maxAudiences)
    return refuse(invalid(`at most ${maxAudiences} audiences are allowed`));
  if (wanted !== '' && !parseSpiffeId(wanted).ok) return refuse(invalid('spiffe_id is not a SPIFFE ID'));
  if (!source.jwtSvids) return refuse(refusals.noTokens);
  const state = source.current();
  if (!state) return refuse(refusals.notReady);
  if (state.svids.length === 0) return refuse(refusals.noIdentity);
  let svids: readonly ApiJwtSvid[];
  try {
    svids = await source.jwtSvids(audiences, wanted === '' ? undefined : wanted);
  } catch (error) {
    return refuse(unavailable(messageOf(error)));
  }
  if (svids.length === 0) {
    const isCertified = state.svids.some(({ spiffeId }) => spiffeId === wanted);
    return refuse(isCertified ? refusals.renamed : refusals.notThatIdentity);
  }
  return answer({
    svids: svids.map(({ spiffeId, token, hint }) => ({ spiffe_id: spiffeId, svid: token, hint })),
  });
}

/**
 * ValidateJWTSVID (Workload API 6.2.3): by the keys of the trust domain that the token names, and of no other. Pure.
 *
 * @param now seconds since the epoch.
 */
export function validateJwtSvid(
  request: { readonly audience: string; readonly svid: string },
  state: WorkloadState | undefined,
  now: number,
): Answer<{ readonly spiffe_id: string; readonly claims: Struct }> {
  const { audience, svid: token } = request;
  if (audience === '') return refuse(invalid('audience is empty; name the one that the token must have'));
  if (token === '') return refuse(invalid('svid is empty'));
  if (token.length > maxTokenLength)
    return refuse(invalid(`svid has more than ${maxTokenLength} characters`));
  if (!state) return refuse(refusals.notReady);
  const parsed = parseJwt(token);
  if (!parsed.ok) return refuse(invalid(parsed.reason));
  const { sub } = parsed.value.claims;
  const id = parseSpiffeId(typeof sub === 'string' ? sub : '');
  if (!id.ok) return refuse(invalid(`sub: ${id.reason}`));
  const { trustDomain } = id.value;
  const bundle = state.jwtBundles.get(trustDomain);
  if (!bundle) return refuse(invalid(`there is no bundle of the trust domain ${trustDomain}`));
  const verified = verifyJwtSvid(token, bundle.keys, { audience, trustDomain, now });
  if (!verified.ok) return refuse(invalid(verified.reason));
  const { claims } = verified.value.jwt;
  if (isTooDeep(claims)) return refuse(invalid(`the claims nest deeper than ${maxClaimLevels} levels`));
  return answer({ spiffe_id: verified.value.id.uri, claims: structOf(claims) });
}
