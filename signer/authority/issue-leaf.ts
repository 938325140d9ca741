import type { CertificateProfile, SigningAuthority } from '../../spiffe/pki/leaf.ts';
import type { PodIdentity } from '../../spiffe/pki/leaf-extensions.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import type { SupportedKey } from '../../spiffe/pki/spki.ts';
import { type CertificateNames, subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';

/** Both ends of a certificate's validity, whole seconds since the epoch. */
export interface Validity {
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
}

/** Backdating of notBefore: peers' clocks may be behind, and the API server allows less than 5 min. */
const backdateSeconds = 120;

/** Where a leaf of `now` begins to be valid. What lies before `now` counts towards its lifetime as well. */
export function leafNotBefore(now: Seconds, authorityNotBefore: Seconds): Seconds {
  return Math.max(now - backdateSeconds, authorityNotBefore);
}

export interface IssuedLeaf extends Validity {
  /** Leaf, then intermediates; no root. */
  readonly chainPem: string;
  readonly leafDer: Uint8Array;
  /** Lower-case hex. */
  readonly serialHex: string;
}

/**
 * Makes and signs a leaf: the one place where that is done, for pods and for the signer's own endpoints.
 *
 * @param input subject: the names in it. pod: whom the further extensions of the profile are for; without it there are
 *   none. validity: inside that of the authority. serial: from `makeSerial`.
 */
export async function issueLeaf(input: {
  readonly authority: SigningAuthority;
  readonly profile: CertificateProfile;
  readonly subject: CertificateNames;
  readonly pod?: PodIdentity;
  readonly key: SupportedKey;
  readonly validity: Validity;
  readonly serial: Uint8Array;
}): Promise<IssuedLeaf> {
  const { authority, profile, pod, key, serial } = input;
  const { notBefore, notAfter } = input.validity;
  const template = authority.templateFor(profile);
  const tbs = template.build({
    serial,
    notBefore,
    notAfter,
    key,
    subjectAltName: subjectAltName(input.subject),
    furtherExtensions: pod && profile.extensionsFor?.(pod),
  });
  const leafDer = template.assemble(tbs, await authority.signer.sign(tbs));
  return {
    notBefore,
    notAfter,
    chainPem: encodePem('CERTIFICATE', leafDer) + authority.chainSuffixPem,
    leafDer,
    serialHex: Buffer.from(serial).toString('hex'),
  };
}
