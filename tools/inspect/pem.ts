import { createPublicKey } from 'node:crypto';
import type { Finding } from '../../spiffe/clauses.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { decodePem, encodePem, type PemBlock } from '../../spiffe/pki/pem.ts';
import { nameOfKey, readableKey } from '../../spiffe/pki/sign.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { CliError } from '../errors.ts';
import { pemText } from '../read-input.ts';
import {
  authoritySections,
  type CertificateContext,
  chainSections,
  type GivenCertificate,
  keyText,
  mergedTrustDomains,
} from './certificates.ts';
import { finding, type Inspection, type Section, withFirst } from './report.ts';

export interface InspectContext extends CertificateContext {
  /** Roots that a chain should lead to. */
  readonly roots?: readonly CertificateFacts[] | undefined;
}

/** Certificates of a PEM text or of bare DER. @throws CliError CERTIFICATE_INVALID */
export function certificatesOf(content: Buffer): CertificateFacts[] {
  return givenCertificates(pemText(content)).map((given, index) => {
    if ('refused' in given) throw unreadable(given.refused, index);
    return given;
  });
}

/** Certificates of a PEM text, also those that cannot be read. @throws CliError PEM_INVALID */
export function givenCertificates(text: string): GivenCertificate[] {
  return blocksOf(text)
    .filter(({ label }) => label === 'CERTIFICATE')
    .map(({ der }) => {
      const read = readCertificate(der);
      return read.ok ? read.value : { der, refused: read.reason };
    });
}

const unreadable = (reason: string, index: number): CliError =>
  new CliError('CERTIFICATE_INVALID', `certificate ${index + 1} cannot be read: ${reason}`);

/** Inspects a PEM text: a chain, a bundle of roots, a credential bundle, or a request. @throws CliError */
export function inspectPem(text: string, context: InspectContext): Inspection {
  const blocks = blocksOf(text);
  const certificates = givenCertificates(text);
  const facts = certificates.flatMap((each) => ('refused' in each ? [] : each));
  const keys = blocks.filter((block) => block.label.endsWith('PRIVATE KEY'));
  const requests = blocks.filter((block) => block.label.endsWith('CERTIFICATE REQUEST'));
  const [leaf] = certificates;
  if (!leaf && requests[0]) return inspectRequest(requests[0].der, context);
  if (!leaf && keys[0]) return { kind: 'private key', sections: [keySection(keys[0], undefined, [])] };
  if (!leaf) {
    const labels = blocks.map((block) => block.label).join(', ');
    throw new CliError('PEM_INVALID', `the PEM text holds no certificate (${labels})`, knownForms);
  }
  const form = formOf(blocks);
  const shown = 'refused' in leaf ? context.contents.certificate(leaf.der) : leaf;
  if ('refused' in leaf && facts.length === 0 && !shown) throw unreadable(leaf.refused, 0);
  const isCa = facts.length > 0 && certificates.every((each, index) => isAuthority(each, index, context));
  if (keys[0] && isCa) {
    const sections = [keySection(keys[0], shown?.spki, form), ...authoritySections(certificates, context)];
    return { kind: 'CA with its private key', sections };
  }
  if (keys[0]) {
    const sections = [
      keySection(keys[0], shown?.spki, [...bundleOrder(blocks, keys), ...form]),
      ...chainSections(certificates, context, context.roots),
    ];
    return { kind: 'credential bundle', sections };
  }
  if (isCa) {
    const kind = certificates.length === 1 ? 'CA certificate' : 'trust bundle';
    const demand = 'all roots are of one trust domain';
    const oneDomain = finding('should', 'SPIFFE Federation 5', demand, mergedTrustDomains(facts));
    return withFirst({ kind, sections: authoritySections(certificates, context) }, [...form, oneDomain]);
  }
  const kind = certificates.length === 1 ? 'certificate' : 'certificate chain';
  return withFirst({ kind, sections: chainSections(certificates, context, context.roots) }, form);
}

/** A refused certificate may be a leaf as well. If it does not say what it is, its place does: the leaf of a chain comes first. */
function isAuthority(given: GivenCertificate, index: number, { contents }: InspectContext): boolean {
  if (!('refused' in given)) return given.isCa;
  return contents.certificate(given.der)?.isCa ?? index > 0;
}

export const knownForms =
  'give a PEM or DER certificate, a chain, a trust bundle, a credential bundle, or a PodCertificateRequest, ' +
  'ClusterTrustBundle, pool or SPIFFE bundle as JSON or YAML';

/** The order in which kubelet writes a credential bundle. */
function bundleOrder(blocks: readonly PemBlock[], keys: readonly PemBlock[]): Finding[] {
  const clause = 'KEP-4317, credentialBundlePath';
  const count = keys.length !== 1 && `there are ${keys.length} private keys`;
  const order = blocks[0] !== keys[0] && 'the key is not the first block';
  return [
    finding('must', clause, 'there is one private key', count),
    finding('should', clause, 'the key comes first, then the chain', order),
  ];
}

/** RFC 7468 as Kubernetes wants it: no headers. Text between the blocks is tolerated. */
function formOf(blocks: readonly PemBlock[]): Finding[] {
  const headers = blocks.some((block) => block.hasHeaders) && 'a PEM block has headers';
  const text = blocks.some((block) => block.hasTextAround) && 'there is text around the PEM blocks';
  return [
    finding('must', 'RFC 7468 2', 'no PEM block has headers', headers),
    finding('should', 'RFC 7468 2', 'there is no text around the PEM blocks', text),
  ];
}

/** Facts about a private key that reveal nothing of it. */
function keySection(
  block: PemBlock,
  leafSpki: Uint8Array | undefined,
  findings: readonly Finding[],
): Section {
  const isPkcs8 = block.label === 'PRIVATE KEY';
  const key = readableKey(encodePem(block.label, block.der));
  const other = !isPkcs8 && `the private key is a "${block.label}" block`;
  const own = [finding('should', 'KEP-4317; go-spiffe', 'the private key is PKCS#8', other)];
  if (!key) {
    const unreadable = 'the private key cannot be read';
    own.push(finding('must', 'RFC 5208 5', 'the private key can be read', unreadable));
  } else if (leafSpki) {
    const isSame = createPublicKey(key).export({ format: 'der', type: 'spki' }).equals(leafSpki);
    const foreign = !isSame && 'the private key does not belong to the first certificate';
    own.push(finding('must', 'RFC 8446 4.4.3', 'the private key belongs to the first certificate', foreign));
  }
  return {
    title: 'Private key',
    facts: {
      Form: isPkcs8 ? 'PKCS#8' : block.label,
      ...(key && { Type: nameOfKey(key), Content: '(not shown)' }),
    },
    findings: [...own, ...findings],
  };
}

function inspectRequest(der: Uint8Array, { contents }: InspectContext): Inspection {
  const key = readCsrKey(der);
  const asked = contents.request(der);
  const facts = {
    Key: asked ? keyText(readSubjectKey(asked.spki), 'not served') : '(unreadable)',
    Subject: asked?.subject ?? '(unreadable)',
  };
  const unserved = key.kind === 'unsupported' && `${key.algorithm} is not served`;
  const problem = key.kind === 'unreadable' ? key.reason : unserved;
  const findings = [finding('must', 'KEP-4317', 'the request holds a key of a type that is served', problem)];
  return {
    kind: 'certificate request (only its key counts)',
    sections: [{ title: 'Request', facts, ...(asked && { extensions: asked.extensions }), findings }],
  };
}

function blocksOf(text: string): PemBlock[] {
  const blocks = decodePem(text);
  if (!blocks.ok) throw new CliError('PEM_INVALID', blocks.reason, knownForms);
  return blocks.value;
}
