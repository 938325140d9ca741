import { contextTag, cursor, integerContent, readDer, soleElement, tags } from './der.ts';
import { type SubjectKey, subjectKeyOf } from './spki.ts';

/** The API server takes no larger request (MaxPKIXPublicKeySize of k8s.io/kubernetes pkg/apis/certificates). */
export const maxCsrBytes = 10 * 1024;

/**
 * The public key of a PKCS#10 request (DER, RFC 2986 4). Nothing else of the request is ever returned: subject,
 * attributes and signature are checked to be where they belong and then left alone, so that nothing a requester
 * writes there can reach a certificate. The signature has been verified by the API server (KEP-4317).
 *
 * A request that the API server could read and we could not would wait for ever. So, as Go's encoding/asn1 does,
 * this takes any version and lets elements of later versions follow the known ones. Never throws.
 */
export function readCsrKey(pkcs10: Uint8Array): SubjectKey {
  if (pkcs10.length > maxCsrBytes) return unreadable(`longer than ${maxCsrBytes} bytes`);
  const read = readDer((): SubjectKey => {
    const request = cursor(soleElement(pkcs10, tags.sequence, 'the request'));
    const info = cursor(request.next(tags.sequence, 'the request information'));
    request.next(tags.sequence, 'the signature algorithm');
    request.next(tags.bitString, 'the signature');
    integerContent(info.any('the version'), 'the version');
    info.next(tags.sequence, 'the subject');
    const key = info.next(tags.sequence, 'the public key');
    info.next(contextTag(0), 'the attributes');
    return subjectKeyOf(key);
  });
  return read.ok ? read.value : unreadable(read.reason);
}

function unreadable(reason: string): SubjectKey {
  return { kind: 'unreadable', reason };
}
