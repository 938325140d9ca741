import { type CertificateFacts, readCertificate } from '../../signer/pki/certificate.ts';
import type { Finding } from '../../signer/spiffe/conformance.ts';
import { authoritySections, type CertificateContext } from './certificates.ts';
import { finding, type Inspection, type Section } from './report.ts';

const clause = 'SPIFFE bundle 4 (B2.13, B5)';

/** A SPIFFE bundle: a JWK set whose keys say by `use` what they verify (SPIFFE_Trust_Domain_and_Bundle 4). */
export function inspectSpiffeBundle(
  bundle: Record<string, unknown>,
  context: CertificateContext,
): Inspection {
  const keys: unknown[] = Array.isArray(bundle.keys) ? bundle.keys : [];
  const counter = (name: string) =>
    Number.isSafeInteger(bundle[name]) && Number(bundle[name]) >= 0
      ? undefined
      : `${name} is ${name in bundle ? 'not a whole number' : 'missing'}`;
  const ids = keys.filter(isObject).flatMap((key) => (key.use === 'jwt-svid' ? [String(key.kid)] : []));
  const head: Section = {
    title: 'Bundle',
    facts: {
      Sequence: String(bundle.spiffe_sequence ?? '(none)'),
      'Refresh hint': String(bundle.spiffe_refresh_hint ?? '(none)'),
      Keys: String(keys.length),
    },
    findings: [
      finding('should', clause, 'spiffe_sequence is a whole number', counter('spiffe_sequence')),
      finding('should', clause, 'spiffe_refresh_hint is a whole number', counter('spiffe_refresh_hint')),
      finding(
        'must',
        clause,
        'each jwt-svid key has a kid of its own',
        new Set(ids).size === ids.length ? undefined : 'two jwt-svid keys have the same kid',
      ),
    ],
  };
  return {
    kind: 'SPIFFE bundle',
    sections: [head, ...keys.flatMap((key, i) => keySections(key, i, context))],
  };
}

function keySections(key: unknown, index: number, context: CertificateContext): Section[] {
  const title = `Key ${index + 1}`;
  if (!isObject(key)) {
    return [
      { title, facts: {}, findings: [finding('must', clause, 'the key is an object', 'it is no object')] },
    ];
  }
  const kty = typeof key.kty === 'string' ? undefined : 'kty is missing';
  const findings = [finding('must', clause, 'kty is there', kty)];
  const facts = { Use: String(key.use ?? '(none)'), Type: String(key.kty ?? '(none)') };
  if (key.use === 'jwt-svid') {
    const kid = typeof key.kid === 'string' && key.kid !== '' ? undefined : 'kid is missing';
    findings.push(finding('must', clause, 'a jwt-svid key has a kid', kid));
    return [{ title, facts: { ...facts, 'Key ID': String(key.kid ?? '(none)') }, findings }];
  }
  if (key.use !== 'x509-svid') {
    const use = `use is ${JSON.stringify(key.use ?? null)}, so the key is ignored`;
    return [{ title, facts, findings: [...findings, finding('must', clause, 'use is a known one', use)] }];
  }
  const read = rootOf(key, findings);
  if (!read) return [{ title, facts, findings }];
  return authoritySections([read], context).map((section) => ({
    title: `${title}: ${section.title}`,
    facts: { ...facts, ...section.facts },
    findings: [...findings, ...section.findings],
  }));
}

/** The certificate of an x509-svid key; what is wrong with it goes to the findings. */
function rootOf(key: Record<string, unknown>, findings: Finding[]): CertificateFacts | undefined {
  const hasKid = 'kid' in key ? 'kid is there' : undefined;
  findings.push(finding('must', clause, 'an x509-svid key has no kid', hasKid));
  const x5c: unknown[] = Array.isArray(key.x5c) ? key.x5c : [];
  const count = x5c.length === 1 ? undefined : `x5c has ${x5c.length} elements`;
  findings.push(finding('must', clause, 'x5c has exactly one certificate', count));
  if (x5c.length === 0) return undefined;
  const read = readCertificate(Buffer.from(String(x5c[0]), 'base64'));
  if (read.ok) return read.value;
  findings.push(finding('must', clause, 'the certificate can be read', `x5c cannot be read: ${read.reason}`));
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
