import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';

/**
 * The life of an authority. Each state says two things: is it in the bundles, and may it sign.
 *
 *   prepared   exists, in no bundle. The operator (or the rotation) publishes it -> preview or trusted; or it is removed.
 *   preview    X.509 only: in the ClusterTrustBundle labelled canarying=preview, beside the live roots
 *              -> trusted once the canaries are content; or it is removed.
 *   trusted    in the live bundles, not signing. After the propagation delay -> active; or -> retired when it is
 *              not wanted after all.
 *   active     in the live bundles, signing. At most one for each kind; when another takes over -> retiring.
 *   retiring   in the live bundles, no longer signing -> retired once the last leaf or token it signed has expired.
 *   retired    out of every bundle. The end: nothing comes back from here.
 *
 * Taint is not a state. It stops the signing at once and leaves the bundles as they are; a tainted authority never
 * becomes active again.
 */
export const authorityStates = ['prepared', 'preview', 'trusted', 'active', 'retiring', 'retired'] as const;
export type AuthorityState = (typeof authorityStates)[number];

/** The kinds of authorities that sign JWT-SVIDs, by what they sign with. */
export const jwtKinds = { 'JWT-ES256': 'ES256', 'JWT-RS256': 'RS256' } as const satisfies Record<
  string,
  JwtSigningAlgorithm
>;
export type JwtKind = keyof typeof jwtKinds;

export function isJwtKind(kind: unknown): kind is JwtKind {
  return typeof kind === 'string' && Object.hasOwn(jwtKinds, kind);
}

/** What an authority signs: X.509-SVIDs, or JWT-SVIDs of one algorithm. */
export type AuthorityKind = 'X509' | JwtKind;
export const authorityKinds: readonly AuthorityKind[] = ['X509', ...(Object.keys(jwtKinds) as JwtKind[])];

const inLiveBundles: ReadonlySet<AuthorityState> = new Set(['trusted', 'active', 'retiring']);

/** Whether the live bundles hold what verifies an authority in this state. */
export function isPublished(state: AuthorityState): boolean {
  return inLiveBundles.has(state);
}
