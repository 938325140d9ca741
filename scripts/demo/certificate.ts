import { X509Certificate } from 'node:crypto';
import type { PodName } from '../../test/cluster/node.ts';
import type { Held } from '../../test/e2e/workload.ts';
import { fromNow } from '../../tools/output.ts';
import { card, localTime } from './output.ts';

/** The serial number of the certificate that a pod holds, hex. */
export function serialOf(held: Held): string {
  return leafOf(held).serialNumber.toLowerCase();
}

/** What a pod holds, for people. @throws Error when it does not lead to the roots that are beside it. */
export function describeCertificate({ namespace, name }: PodName, held: Held, before?: Held): string {
  const leaf = leafOf(held);
  const previous = before && leafOf(before);
  const last = chainOf(held).at(-1) ?? leaf;
  const root = certificatesIn(held.roots).find((one) => last.checkIssued(one) && last.verify(one.publicKey));
  if (!root) throw new Error(`the certificate of ${namespace}/${name} does not lead to its projected roots`);
  const [from, to] = [leaf.validFromDate, leaf.validToDate].map((date) => date.getTime() / 1000);
  const { asymmetricKeyType: type, asymmetricKeyDetails: key } = leaf.publicKey;
  return card(`pod ${namespace}/${name}`, [
    ['SPIFFE ID', idIn(leaf)],
    ...(previous && idIn(previous) !== idIn(leaf) ? [['', `(was ${idIn(previous)})`] as const] : []),
    ['serial', `${serialOf(held)}${before ? `   (was ${serialOf(before)})` : ''}`],
    [
      'valid',
      `${localTime(from ?? 0)} to ${localTime(to ?? 0)} (ends ${fromNow(to ?? 0, Date.now() / 1000)})`,
    ],
    ['key', `${type} ${key?.namedCurve ?? ''}`],
    ['chain', `leaf <- ${root.subject.split('\n').join(', ')} (verified against the projected roots)`],
  ]);
}

function leafOf(held: Held): X509Certificate {
  const [leaf] = chainOf(held);
  if (!leaf) throw new Error('the pod holds no certificate');
  return leaf;
}

const idIn = (leaf: X509Certificate): string => leaf.subjectAltName?.replace('URI:', '') ?? '';

/** Leaf first. The private key before it is not touched. */
function chainOf(held: Held): X509Certificate[] {
  return certificatesIn(held.credentials.ECDSAP256 ?? '');
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
