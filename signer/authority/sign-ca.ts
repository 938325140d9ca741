import 'reflect-metadata';
import { createPublicKey, type KeyObject, webcrypto } from 'node:crypto';
import { AuthorityKeyIdentifierExtension, X509Certificate, X509CertificateGenerator } from '@peculiar/x509';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { keyTypes, subjectKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { nameOfKey } from '../../spiffe/pki/sign.ts';
import type { SupportedKey } from '../../spiffe/pki/spki.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type CaContent, caExtensions, caName, checkCaContent } from './ca-content.ts';
import { newSerial, rootBackdateSeconds } from './create.ts';

/** A CA that signs other CAs, with its key. */
export interface SigningCa {
  readonly certificate: CertificateFacts;
  readonly privateKey: KeyObject;
}

/** What is signed, and for how long. */
export interface WantedCa extends CaContent {
  readonly key: SupportedKey;
  /** The certificate whose subject it gets too, where one exists: verifiers find either of them by that name. */
  readonly namesake?: CertificateFacts;
  readonly notAfter: Seconds;
  readonly now: Seconds;
}

/**
 * Signs a CA with another CA: an intermediate, or with a namesake a cross-certificate. Nothing but the key is taken from a
 * request, so its author chooses neither a name nor a right.
 *
 * @returns the certificate. It ends with its issuer at the latest.
 * @throws KubespiffeError USAGE, SPIFFE_ID_INVALID, CERTIFICATE_INVALID for an issuer that may not sign it,
 *   KEY_UNSUPPORTED for the key of the issuer.
 */
export async function signCa(issuer: SigningCa, wanted: WantedCa): Promise<CertificateFacts> {
  const { key, namesake, now, trustDomain } = wanted;
  checkCaContent(wanted);
  checkIssuer(issuer, wanted);
  const { certificate } = issuer;
  const named = namesake && new X509Certificate(bytesOf(namesake.der));
  const publicKey = await webcrypto.subtle.importKey('spki', bytesOf(key.spki), key.type.webcrypto, true, [
    'verify',
  ]);
  const { algorithm, signingKey } = signingKeyOf(issuer.privateKey);
  const made = await X509CertificateGenerator.create(
    {
      serialNumber: newSerial(),
      issuer: new X509Certificate(bytesOf(certificate.der)).subjectName,
      subject: named?.subjectName ?? caName(trustDomain, Buffer.from(key.keyId).toString('hex').slice(0, 16)),
      notBefore: new Date(Math.max(now - rootBackdateSeconds, certificate.notBefore) * 1000),
      notAfter: new Date(Math.min(wanted.notAfter, certificate.notAfter) * 1000),
      publicKey,
      signingKey,
      signingAlgorithm: algorithm,
      extensions: [
        ...(await caExtensions(wanted, publicKey)),
        new AuthorityKeyIdentifierExtension(Buffer.from(certificate.keyId).toString('hex')),
      ],
    },
    webcrypto,
  );
  const read = readCertificate(new Uint8Array(made.rawData));
  if (!read.ok) throw new KubespiffeError('CERTIFICATE_INVALID', read.reason);
  return read.value;
}

function checkIssuer({ certificate, privateKey }: SigningCa, { pathLength = 4, now }: WantedCa): void {
  const refuse = (what: string, hint: string) => {
    throw new KubespiffeError('CERTIFICATE_INVALID', `the certificate of the signing CA ${what}`, { hint });
  };
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  if (!spki.equals(certificate.spki))
    refuse('does not belong to the key', 'give the certificate of this key');
  if (!certificate.isCa || !(certificate.keyUsage?.includes('keyCertSign') ?? true)) {
    refuse('is not that of a CA that may sign certificates', 'use a CA with keyCertSign');
  }
  if (certificate.pathLen === 0)
    refuse('has path length 0, so it may sign no CA', 'use a CA with a longer path');
  if (certificate.pathLen !== undefined && certificate.pathLen <= pathLength) {
    const most = certificate.pathLen - 1;
    refuse(`has path length ${certificate.pathLen}`, `sign a CA with a path length of at most ${most}`);
  }
  if (certificate.notAfter <= now)
    refuse(`expired at ${rfc3339(certificate.notAfter)}`, 'use a CA that is valid');
}

function signingKeyOf(privateKey: KeyObject) {
  const name = nameOfKey(privateKey);
  const type =
    subjectKeyTypes.find((each) => each.name === name) ??
    (privateKey.asymmetricKeyType === 'rsa' ? keyTypes['rsa-3072'] : undefined);
  if (!type) {
    const hint = `use a CA with one of ${subjectKeyTypes.map((each) => each.name).join(', ')}`;
    throw new KubespiffeError('KEY_UNSUPPORTED', `the key of the signing CA is of type ${name}`, { hint });
  }
  const algorithm = type.webcrypto;
  return { algorithm, signingKey: privateKey.toCryptoKey(algorithm, false, ['sign']) };
}

/** A copy that owns its buffer, as web APIs want it. */
const bytesOf = (octets: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(octets);
