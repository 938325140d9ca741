import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { checkLeaf } from '../spiffe/conformance.ts';
import { parseSpiffeId, type SpiffeId } from '../spiffe/id.ts';
import { type CertificateFacts, readCertificate } from '../spiffe/pki/certificate.ts';
import { certificatesPem, decodePem, encodePem, type PemBlock } from '../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { readableKey } from '../spiffe/pki/sign.ts';
import type { Seconds } from '../spiffe/pki/time.ts';
import { isSignedBy } from '../spiffe/pki/verify.ts';

/** The identity of a workload: a private key and its certificates. */
export interface X509Svid {
  readonly id: SpiffeId;
  /** A KeyObject, so that printing the SVID does not print the key. */
  readonly privateKey: KeyObject;
  /** Leaf, then intermediates; PEM. */
  readonly chainPem: string;
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
}

/**
 * Reads private key and certificate chain from one PEM text, as kubelet writes it to `credentialBundlePath`. The key must
 * be that of the first certificate, and each certificate must be signed by the next, so parts of two credentials are
 * never taken for one. Dates, and who has signed the last certificate, are not checked. The reasons never quote the text. Never throws.
 */
export function readX509Svid(pem: string): Result<X509Svid> {
  const blocks = decodePem(pem);
  if (!blocks.ok) return blocks;
  const isKey = ({ label }: PemBlock) => label.endsWith('PRIVATE KEY');
  const keys = blocks.value.filter(isKey);
  const [keyBlock] = keys;
  if (!keyBlock || keys.length > 1) return failure(`it has ${keys.length} private keys; one is needed`);
  const others = blocks.value.filter((block) => !isKey(block));
  const strange = others.find(({ label }) => label !== 'CERTIFICATE');
  if (strange) return failure(`it has a PEM block ${strange.label}; only keys and certificates are expected`);
  const chain = readChain(others);
  if (!chain.ok) return chain;
  const [leaf] = chain.value;
  if (!leaf) return failure('it has no certificate');

  const broken = checkLeaf(leaf).find(({ ok, level }) => level === 'must' && !ok);
  if (broken) return failure(`its certificate is not an X509-SVID: ${broken.message} (${broken.clause})`);
  const id = parseSpiffeId(leaf.uris[0] ?? '');
  if (!id.ok) return id;
  const privateKey = readableKey(encodePem(keyBlock.label, keyBlock.der));
  if (!privateKey) return failure('its private key cannot be read, or is encrypted');
  if (!isKeyOf(privateKey, leaf)) return failure('its private key is not that of its certificate');
  return success({
    id: id.value,
    privateKey,
    chainPem: certificatesPem(chain.value),
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
  });
}

/**
 * Whether one of these roots has signed the chain of an SVID. A file that is overwritten in place may hold a certificate
 * whose first part is new and whose rest is old: only its signature shows that.
 */
export function isIssuedUnder({ chainPem }: X509Svid, roots: readonly CertificateFacts[]): boolean {
  const blocks = decodePem(chainPem);
  const last = blocks.ok ? blocks.value.at(-1) : undefined;
  const top = last && readCertificate(last.der);
  return top?.ok === true && roots.some((root) => isSignedBy(top.value, root));
}

function readChain(blocks: readonly PemBlock[]): Result<CertificateFacts[]> {
  const chain: CertificateFacts[] = [];
  for (const [index, { der }] of blocks.entries()) {
    const read = readCertificate(der);
    if (!read.ok) return failure(`certificate ${index + 1} cannot be read: ${read.reason}`);
    const below = chain.at(-1);
    if (below && !isSignedBy(below, read.value)) {
      return failure(`certificate ${index} of the chain is not signed by certificate ${index + 1}`);
    }
    chain.push(read.value);
  }
  return success(chain);
}

/** Signs, since OpenSSL believes the public key that an EC private key carries beside the secret number. */
function isKeyOf(privateKey: KeyObject, { spki }: CertificateFacts): boolean {
  const digest = privateKey.asymmetricKeyType?.startsWith('ed') ? null : 'sha256';
  try {
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    return verify(digest, spki, publicKey, sign(digest, spki, privateKey));
  } catch {
    return false;
  }
}
