import { createPrivateKey } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** A self-signed certificate of about so many bytes: as many short DNS names as fit. */
export async function aCertificateOf(bytes: number): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  // A name of one letter takes three bytes.
  const names = Array.from({ length: Math.ceil((bytes - 300) / 3) }, () => ({
    type: 'dns' as const,
    value: 'a',
  }));
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=a',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension(names)],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: certificate.toString('pem') };
}
