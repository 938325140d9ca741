import type { ForeignBundle } from '../../signer/federation/foreign-bundle.ts';
import { publicJwkOf, thumbprintOf } from '../../spiffe/jwk.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

/** A key of a bundle, for programs. */
export interface BundleKey {
  readonly use: 'x509-svid' | 'jwt-svid';
  /** SHA-256 of the certificate of a root, in hex; the key ID of a JWT key. */
  readonly id: string;
  /** SHA-256 of the key of a JWT key (RFC 7638), base64url: a key ID may come to name another key. */
  readonly thumbprint?: string;
  /** RFC 3339, of a root. */
  readonly notAfter?: string;
}

/** The keys of a bundle, the roots first, each kind in the order of its IDs. */
export function bundleKeys({ roots, jwtKeys }: Pick<ForeignBundle, 'roots' | 'jwtKeys'>): BundleKey[] {
  const ofRoots = roots.map(({ sha256Hex: id, notAfter }): BundleKey => {
    return { use: 'x509-svid', id, notAfter: rfc3339(notAfter) };
  });
  const ofTokens = [...jwtKeys].map(([id, key]): BundleKey => {
    return { use: 'jwt-svid', id, thumbprint: thumbprintOf(publicJwkOf(key)) };
  });
  return [...ofRoots, ...ofTokens].sort((one, other) => (sortKey(one) < sortKey(other) ? -1 : 1));
}

const sortKey = ({ use, id }: BundleKey) => `${use === 'x509-svid' ? 0 : 1} ${id}`;

/** The same for keys that verify the same. */
export const identityOf = ({ use, id, thumbprint }: BundleKey) => [use, id, thumbprint].join(' ');

/** A key in the words of a table. */
export const nameOfKey = ({ use, id }: BundleKey) =>
  use === 'x509-svid' ? `root SHA-256 ${id}` : `JWT key ${id}`;
