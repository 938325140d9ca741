import type { SpiffeId } from '../../spiffe/id.ts';
import type { SigningAuthority } from '../../spiffe/pki/leaf.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import type { SupportedKey } from '../../spiffe/pki/spki.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';

/** Both ends of a certificate's validity, whole seconds since the epoch. */
export interface Validity {
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
}

/** How far notBefore lies back: peers' clocks may be behind, and the API server allows less than 5 min. */
const backdateSeconds = 120;

/** Where a leaf of `now` begins to be valid. What lies before `now` counts towards its life as well. */
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
 * Makes and signs a leaf: the one place where that is done, for pods and for the signer's own endpoints. With an
 * authority key that signs inline (P-256, Ed25519) the result is there at once, else it is a promise.
 *
 * @param input serial: from `makeSerial`. validity: inside that of the authority; whatever else it says is handed on.
 *   dnsNames: beside the SPIFFE ID, for servers whose clients know nothing of SPIFFE. furtherExtensions: from
 *   `leafExtensions`.
 */
export function issueLeaf<V extends Validity>(input: {
  authority: SigningAuthority;
  spiffeId: SpiffeId;
  key: SupportedKey;
  validity: V;
  serial: Uint8Array;
  dnsNames?: readonly string[];
  furtherExtensions?: Uint8Array | undefined;
}): (IssuedLeaf & V) | Promise<IssuedLeaf & V> {
  const { authority, validity, serial, key, dnsNames } = input;
  const { template, signer } = authority;
  const tbs = template.build({
    serial,
    notBefore: validity.notBefore,
    notAfter: validity.notAfter,
    spki: key.spki,
    keyId: key.keyId,
    uri: input.spiffeId.uri,
    ...(dnsNames && { dnsNames }),
    furtherExtensions: input.furtherExtensions,
  });
  const finish = (signature: Uint8Array): IssuedLeaf & V => {
    const leafDer = template.assemble(tbs, signature);
    return {
      ...validity,
      chainPem: encodePem('CERTIFICATE', leafDer) + authority.chainSuffixPem,
      leafDer,
      serialHex: Buffer.from(serial).toString('hex'),
    };
  };
  const signature = signer.sign(tbs);
  return signature instanceof Promise ? signature.then(finish) : finish(signature);
}
