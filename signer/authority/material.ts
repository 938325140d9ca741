import { hash } from 'node:crypto';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem, soleBlock } from '../../spiffe/pki/pem.ts';
import type { AuthorityRecord } from './document.ts';
import { isJwtKind } from './states.ts';

/** What identifies an authority, its key and its root, independently of its id in a pool and of the form of its PEM. */

/** The certificate that signs, or the key. Several authorities may be below one root. */
export function materialOf({
  intermediates,
  certificate,
  publicKey,
  privateKey = '',
}: AuthorityRecord): string {
  const pem = intermediates?.[0] ?? certificate ?? publicKey ?? privateKey;
  const blocks = decodePem(pem);
  const [block] = blocks.ok ? blocks.value : [];
  return block ? Buffer.from(block.der).toString('base64') : pem;
}

/** The key that signs. A cross-signed CA has the key of another authority. */
export function keyOf(record: AuthorityRecord): string {
  const pem = isJwtKind(record.kind) ? undefined : (record.intermediates?.[0] ?? record.certificate);
  const der = pem === undefined ? undefined : soleBlock(pem, 'CERTIFICATE');
  const read = der && readCertificate(der);
  return read?.ok ? Buffer.from(read.value.spki).toString('base64') : materialOf(record);
}

/** SHA-256 in hex of the roots whose own key is tainted: a thief can sign CAs below them. */
export function stolenRoots(authorities: readonly AuthorityRecord[]): ReadonlySet<string> {
  const isStolen = ({ kind, tainted, intermediates = [] }: AuthorityRecord) =>
    kind === 'X509' && tainted && intermediates.length === 0;
  return new Set(authorities.filter(isStolen).flatMap((each) => rootOf(each) ?? []));
}

/** SHA-256 of the root in hex; undefined for JWT keys, and for what cannot be read. */
export function rootOf(record: AuthorityRecord): string | undefined {
  if (isJwtKind(record.kind)) return undefined;
  const der = soleBlock(record.certificate ?? '', 'CERTIFICATE');
  return der && hash('sha256', der, 'hex');
}
