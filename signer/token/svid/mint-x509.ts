import { readProvenCsrKey } from '../../../spiffe/pki/csr.ts';
import type { CertificateProfile, SigningAuthority } from '../../../spiffe/pki/leaf.ts';
import type { PodIdentity } from '../../../spiffe/pki/leaf-extensions.ts';
import type { SupportedKey } from '../../../spiffe/pki/spki.ts';
import type { CertificateNames } from '../../../spiffe/pki/subject-alt-name.ts';
import { type IssuedLeaf, issueLeaf, leafNotBefore } from '../../authority/issue-leaf.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import { expiryOf } from './mint-jwt.ts';

/** Times in whole seconds since the epoch. */
export interface MintedX509Svid extends IssuedLeaf {
  /** When half of the lifetime that is left has passed. From then on the pod asks for another. */
  readonly refreshAt: number;
}

/** The key of a PKCS#10 request (DER) if its holder has signed the request. Nothing else is taken from it. Pure. */
export function keyOfRequest(pkcs10: Uint8Array): Checked<SupportedKey> {
  const key = readProvenCsrKey(pkcs10);
  switch (key.kind) {
    case 'supported':
      return pass(key);
    case 'unsupported':
      return refuse('UnsupportedKeyType', key.algorithm);
    case 'unproven':
      return refuse('CsrSignatureInvalid', key.reason);
    case 'unreadable':
      return refuse('CsrUnreadable', key.reason);
  }
}

/**
 * Makes an X509-SVID that ends with its lifetime, its authority, or the credential it is made from, whichever is first.
 *
 * @param input now, credentialEndsAt: seconds since the epoch. serial: from `makeSerial`.
 */
export async function mintX509Svid(input: {
  readonly authority: SigningAuthority;
  readonly profile: CertificateProfile;
  readonly subject: CertificateNames;
  readonly pod: PodIdentity;
  readonly key: SupportedKey;
  readonly now: number;
  readonly lifetimeSeconds: number;
  readonly credentialEndsAt: number;
  readonly serial: Uint8Array;
}): Promise<Checked<MintedX509Svid>> {
  const { authority, now } = input;
  const notBefore = leafNotBefore(now, authority.notBefore);
  const notAfter = expiryOf({
    now,
    lifetimeSeconds: notBefore + input.lifetimeSeconds - now,
    credentialEndsAt: Math.min(input.credentialEndsAt, authority.notAfter),
  });
  if (!notAfter.ok) return notAfter;
  const leaf = await issueLeaf({ ...input, validity: { notBefore, notAfter: notAfter.value } });
  return pass({ ...leaf, refreshAt: now + Math.floor((leaf.notAfter - now) / 2) });
}
