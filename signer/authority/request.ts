import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type CaContent, caExtensions, caName, checkCaContent } from './ca-content.ts';
import { caKeysOf, type WantedKey } from './ca-keys.ts';
import type { AuthorityRecord } from './document.ts';

/** The key of a new CA as a pool has it, and the request for its certificate: PKCS#10 in PEM, signed with the key. */
export type CaRequest = Pick<AuthorityRecord, 'privateKey' | 'keyRef'> & { readonly request: string };

/**
 * Makes a key, or uses one that is kept outside of the pool, and asks for a CA certificate with it. The request says what we want; what its extensions come to is for the
 * CA that answers.
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID, USAGE
 */
export async function makeCaRequest(
  wanted: CaContent & WantedKey & { readonly id: string },
): Promise<CaRequest> {
  const { trustDomain, id } = wanted;
  checkCaContent(wanted);
  const { type, pair: keys, record, finish } = await caKeysOf(wanted);
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: caName(trustDomain, id),
      keys,
      signingAlgorithm: keyTypes[type].webcrypto,
      extensions: await caExtensions(wanted, keys.publicKey),
    },
    webcrypto,
  );
  const der = await finish(new Uint8Array(request.rawData));
  return { ...record, request: encodePem('CERTIFICATE REQUEST', der) };
}

/** An authority of a pool that has its key and waits for its certificate. @throws as makeCaRequest */
export async function createRequested(
  wanted: Parameters<typeof makeCaRequest>[0] & { readonly now: Seconds },
): Promise<AuthorityRecord> {
  const { id, now } = wanted;
  const asked = await makeCaRequest(wanted);
  return {
    ...{ id, kind: 'X509', state: 'prepared', tainted: false, ...asked },
    createdAt: rfc3339(now),
  };
}
