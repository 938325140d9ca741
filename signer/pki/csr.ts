import { bitStringOctets, contextTag, cursor, readDer, smallInteger, soleElement, tags } from './der.ts';
import { type SubjectKey, subjectKeyOf } from './spki.ts';

/** The API server takes no larger request (MaxPKIXPublicKeySize of k8s.io/kubernetes pkg/apis/certificates). */
export const maxCsrBytes = 10 * 1024;

/**
 * The public key of a PKCS#10 request (DER, RFC 2986 4). Nothing else of the request is ever returned: subject,
 * attributes and signature are checked to be where they belong and then left alone, so that nothing a requester
 * writes there can reach a certificate. The signature has been verified by the API server (KEP-4317).
 * Never throws.
 */
export function readCsrKey(pkcs10: Uint8Array): SubjectKey {
  if (pkcs10.length > maxCsrBytes) return unreadable(`longer than ${maxCsrBytes} bytes`);
  const read = readDer((): SubjectKey => {
    const request = cursor(soleElement(pkcs10, tags.sequence, 'the request'));
    const info = cursor(request.next(tags.sequence, 'the request information'));
    request.next(tags.sequence, 'the signature algorithm');
    bitStringOctets(request.any('the signature'), 'the signature');
    request.end('the request');

    if (smallInteger(info.any('the version'), 'the version') !== 0) return unreadable('the version is not 0');
    info.next(tags.sequence, 'the subject');
    const key = info.next(tags.sequence, 'the public key');
    info.next(contextTag(0), 'the attributes');
    info.end('the request information');
    return subjectKeyOf(key);
  });
  return read.ok ? read.value : unreadable(read.reason);
}

function unreadable(reason: string): SubjectKey {
  return { kind: 'unreadable', reason };
}
