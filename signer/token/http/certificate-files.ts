import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { messageOf } from '../../../spiffe/errors.ts';
import { certificatesPem, decodePem } from '../../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../../spiffe/pki/result.ts';
import { readableKey } from '../../../spiffe/pki/sign.ts';
import { textOf } from '../../../spiffe/pki/text.ts';
import type { ServerCertificate } from './tls.ts';

/**
 * Reads a chain and its key in the form of a Secret of type kubernetes.io/tls: PEM, the leaf first. They must match, so
 * that a half-renewed pair is not used.
 *
 * @param nowMs epoch milliseconds.
 * @returns the pair; or what is wrong with it and what to do, without any part of the key.
 */
export async function readCertificateFiles(
  files: { readonly certificateFile: string; readonly keyFile: string },
  nowMs: number,
): Promise<Result<ServerCertificate>> {
  const { certificateFile, keyFile } = files;
  let chainText: string;
  let keyText: string;
  try {
    // One after the other, so that of two missing files the same one is always reported.
    chainText = textOf(await readFile(certificateFile));
    keyText = textOf(await readFile(keyFile));
  } catch (error) {
    return failure(`the certificate of the bundle endpoint cannot be read: ${messageOf(error)}`);
  }
  const blocks = decodePem(chainText);
  const chain = blocks.ok ? blocks.value.filter(({ label }) => label === 'CERTIFICATE') : [];
  const [leaf] = chain;
  const certificate = leaf && readCertificate(leaf.der);
  if (!certificate) return failure(`${certificateFile} holds no certificate in PEM`);
  const key = readableKey(keyText);
  if (!key) return failure(`${keyFile} holds no unencrypted private key in PEM`);
  if (!certificate.checkPrivateKey(key)) {
    return failure(`the key in ${keyFile} is not that of the first certificate in ${certificateFile}`);
  }
  if (nowMs >= certificate.validToDate.getTime()) {
    return failure(`the certificate in ${certificateFile} has ended on ${certificate.validTo}; renew it`);
  }
  return success({
    keyPem: String(key.export({ type: 'pkcs8', format: 'pem' })),
    chainPem: certificatesPem(chain),
    notAfter: certificate.validToDate.getTime() / 1000,
  });
}

function readCertificate(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}
