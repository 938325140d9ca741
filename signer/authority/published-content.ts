import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import type { JwtAuthority } from './jwt-authority.ts';
import type { Pool } from './pool.ts';
import { isPublished } from './states.ts';

/** The roots in the live bundles, by fingerprint, so that moving an authority within the pool changes no document. */
export function publishedRoots(pool: Pool): CertificateFacts[] {
  return pool.roots.toSorted((a, b) => compare(a.sha256Hex, b.sha256Hex));
}

/**
 * The JWT keys in the bundles, by `kid`. Tainted ones too: taint stops the signing, and only the state takes a key out.
 */
export function publishedJwtKeys(pool: Pool): JwtAuthority[] {
  return pool.jwt.filter(({ state }) => isPublished(state)).toSorted((a, b) => compare(a.kid, b.kid));
}

/** By code units, as no locale decides about bytes. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
