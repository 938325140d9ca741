import {
  bitStringOctets,
  contextTag,
  cursor,
  derOf,
  type Element,
  integerContent,
  readDer,
  soleElement,
  tags,
} from './der.ts';
import { type SubjectKey, subjectKeyOf } from './spki.ts';
import { signatureAlgorithmOf, verifySignature } from './verify.ts';

/** The API server takes no larger request (MaxPKIXPublicKeySize of k8s.io/kubernetes pkg/apis/certificates). */
export const maxCsrBytes = 10 * 1024;

/** As of a SubjectPublicKeyInfo; `unproven` is a sound key that the request does not show to be the requester's. */
export type ProvenKey = SubjectKey | { readonly kind: 'unproven'; readonly reason: string };

/**
 * The public key of a PKCS#10 request (DER, RFC 2986 4). Nothing else of the request is ever returned: subject,
 * attributes and signature are checked to be where they belong and then left alone, so that nothing a requester
 * writes there can reach a certificate. The signature has been verified by the API server (KEP-4317).
 *
 * A request that the API server could read and we could not would wait for ever. So, as Go's encoding/asn1 does,
 * this takes any version and lets elements of later versions follow the known ones. Never throws.
 */
export function readCsrKey(pkcs10: Uint8Array): SubjectKey {
  return readRequest(pkcs10, ({ key }) => subjectKeyOf(key));
}

/**
 * Like readCsrKey, for a request that was not verified: it must be signed with its private key (RFC 2986 3),
 * which is all that the request is good for. Never throws.
 */
export function readProvenCsrKey(pkcs10: Uint8Array): ProvenKey {
  return readRequest(pkcs10, ({ info, algorithm, signature, key }): ProvenKey => {
    const read = subjectKeyOf(key);
    if (read.kind !== 'supported') return read;
    const signedWith = signatureAlgorithmOf(algorithm);
    if ('unknown' in signedWith) {
      const reason = `is made with ${signedWith.unknown}; use SHA-256, SHA-384 or SHA-512`;
      return { kind: 'unproven', reason };
    }
    const octets = bitStringOctets(signature, 'the signature');
    return verifySignature(signedWith, read.spki, derOf(info), octets)
      ? read
      : { kind: 'unproven', reason: 'is not one of the key that is in it' };
  });
}

interface RequestParts {
  /** CertificationRequestInfo: what is signed. */
  readonly info: Element;
  readonly algorithm: Element;
  readonly signature: Element;
  readonly key: Element;
}

function readRequest<T>(
  pkcs10: Uint8Array,
  use: (parts: RequestParts) => T,
): T | Extract<SubjectKey, { kind: 'unreadable' }> {
  if (pkcs10.length > maxCsrBytes) return unreadable(`longer than ${maxCsrBytes} bytes`);
  const read = readDer(() => {
    const request = cursor(soleElement(pkcs10, tags.sequence, 'the request'));
    const info = request.next(tags.sequence, 'the request information');
    const algorithm = request.next(tags.sequence, 'the signature algorithm');
    const signature = request.next(tags.bitString, 'the signature');
    const fields = cursor(info);
    integerContent(fields.any('the version'), 'the version');
    fields.next(tags.sequence, 'the subject');
    const key = fields.next(tags.sequence, 'the public key');
    fields.next(contextTag(0), 'the attributes');
    return use({ info, algorithm, signature, key });
  });
  return read.ok ? read.value : unreadable(read.reason);
}

function unreadable(reason: string): { readonly kind: 'unreadable'; readonly reason: string } {
  return { kind: 'unreadable', reason };
}
