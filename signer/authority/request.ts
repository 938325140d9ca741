import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { type AuthorityKeyType, keyTypes } from '../../spiffe/pki/algorithms.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type CaContent, caExtensions, caName, checkCaContent, generateCaKeys } from './ca-content.ts';
import type { AuthorityRecord } from './document.ts';

/** A new key of a CA, and the request for its certificate; both PEM. */
export interface CaRequest {
  /** PKCS#10, signed with the key. */
  readonly request: string;
  /** PKCS#8. */
  readonly privateKey: string;
}

/**
 * Makes a key and asks for a CA certificate with it. The request says what we want; what its extensions come to is for the
 * CA that answers.
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID, USAGE
 */
export async function makeCaRequest(
  wanted: CaContent & { readonly id: string; readonly keyType?: AuthorityKeyType },
): Promise<CaRequest> {
  const { keyType = 'ecdsa-p256', trustDomain, id } = wanted;
  checkCaContent(wanted);
  const keys = await generateCaKeys(keyType);
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: caName(trustDomain, id),
      keys,
      signingAlgorithm: keyTypes[keyType].webcrypto,
      extensions: await caExtensions(wanted, keys.publicKey),
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    request: encodePem('CERTIFICATE REQUEST', new Uint8Array(request.rawData)),
    privateKey: encodePem('PRIVATE KEY', new Uint8Array(pkcs8)),
  };
}

/** An authority of a pool that has its key and waits for its certificate. @throws as makeCaRequest */
export async function createRequested(
  wanted: Parameters<typeof makeCaRequest>[0] & { readonly now: Seconds },
): Promise<AuthorityRecord> {
  const { id, now } = wanted;
  const { request, privateKey } = await makeCaRequest(wanted);
  return {
    ...{ id, kind: 'X509', state: 'prepared', tainted: false, privateKey, request },
    createdAt: rfc3339(now),
  };
}
