import * as x509 from '@peculiar/x509';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { type TestCa, webAlgorithm, webKeyPair } from '../spiffe/pki/authorities.ts';
import { makeKey } from '../spiffe/pki/keys.ts';

type Names = ConstructorParameters<typeof x509.SubjectAlternativeNameExtension>[0];

/** Certificates of a workload that would like to be another one: what has its ID in some place, but not as the only URI. */
const disguises = (
  wanted: string,
  own: string,
): Readonly<Record<string, { names: Names; subject?: string }>> => ({
  'the ID as a DNS name': { names: [{ type: 'dns', value: wanted }] },
  'the ID within a DNS name, as OpenSSL prints URIs': { names: [{ type: 'dns', value: `a, URI:${wanted}` }] },
  'the own ID, then such a DNS name': {
    names: [
      { type: 'url', value: own },
      { type: 'dns', value: `a, URI:${wanted}` },
    ],
  },
  'the ID as an address of e-mail': { names: [{ type: 'email', value: wanted }] },
  'the ID as the common name': { names: [{ type: 'url', value: own }], subject: `CN=${wanted}` },
  'the ID behind the own one': {
    names: [
      { type: 'url', value: own },
      { type: 'url', value: wanted },
    ],
  },
  'the own ID behind the ID': {
    names: [
      { type: 'url', value: wanted },
      { type: 'url', value: own },
    ],
  },
  'the ID and something behind it': { names: [{ type: 'url', value: `${wanted}/x` }] },
  'the ID in upper case': { names: [{ type: 'url', value: wanted.toUpperCase() }] },
});

/** Key and certificate for each of them, signed by the CA of the trust domain, though no signer would do it. */
export async function makeDisguises(
  ca: TestCa,
  wanted: string,
  own: string,
): Promise<readonly { readonly name: string; readonly pem: string }[]> {
  const signing = await webKeyPair(ca.key.name, ca.key.privateKey);
  const now = Date.now();
  return Promise.all(
    Object.entries(disguises(wanted, own)).map(async ([name, { names, subject = '' }]) => {
      const key = makeKey('ECDSA P-256');
      const certificate = await x509.X509CertificateGenerator.create({
        subject,
        issuer: new x509.X509Certificate(ca.pem).subject,
        notBefore: new Date(now - 60_000),
        notAfter: new Date(now + 3_600_000),
        signingAlgorithm: webAlgorithm(ca.key.name),
        publicKey: (await webKeyPair(key.name, key.privateKey)).publicKey,
        signingKey: signing.privateKey,
        extensions: [
          new x509.SubjectAlternativeNameExtension(names, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
        ],
      });
      const keyPem = encodePem('PRIVATE KEY', key.privateKey.export({ type: 'pkcs8', format: 'der' }));
      return { name, pem: keyPem + encodePem('CERTIFICATE', new Uint8Array(certificate.rawData)) };
    }),
  );
}
