import { checkBundle, checkBundleKey } from '../../spiffe/bundle-clauses.ts';
import { certificateOf, x5cOf } from '../../spiffe/bundle-key.ts';
import { isJsonObject, type JsonObject, shown } from '../../spiffe/json.ts';
import { authoritySections, type CertificateContext, contentsOf } from './certificates.ts';
import type { Inspection, Section } from './report.ts';

/** A SPIFFE bundle: a JWK set whose keys say by `use` what they verify (SPIFFE_Trust_Domain_and_Bundle 4). */
export function inspectSpiffeBundle(bundle: JsonObject, context: CertificateContext): Inspection {
  const keys: unknown[] = Array.isArray(bundle.keys) ? bundle.keys : [];
  const head: Section = {
    title: 'Bundle',
    facts: {
      Sequence: textOf(bundle.spiffe_sequence),
      'Refresh hint': textOf(bundle.spiffe_refresh_hint),
      Keys: String(keys.length),
    },
    findings: checkBundle(bundle),
  };
  const sections = keys.flatMap((key, index) =>
    // A value that is not an object is reported once, with the document.
    isJsonObject(key) ? keySections(key, `Key ${index + 1}`, context) : [],
  );
  return { kind: 'SPIFFE bundle', sections: [head, ...sections] };
}

function keySections(key: JsonObject, title: string, context: CertificateContext): Section[] {
  const findings = checkBundleKey(key);
  const facts = { Use: textOf(key.use), Type: textOf(key.kty) };
  if (key.use === 'jwt-svid') {
    return [{ title, facts: { ...facts, 'Key ID': textOf(key.kid) }, findings }];
  }
  const root = key.use === 'x509-svid' ? certificateOf(key) : undefined;
  if (!root?.ok) {
    const der = Buffer.from(String(x5cOf(key)[0] ?? ''), 'base64');
    const shown = root && der.length > 0 ? contentsOf({ der }, context) : { facts: {} };
    return [{ title, ...shown, facts: { ...facts, ...shown.facts }, findings }];
  }
  return authoritySections([root.value], context).map((section) => ({
    ...section,
    title: `${title}: ${section.title}`,
    facts: { ...facts, ...section.facts },
    findings: [...findings, ...section.findings],
  }));
}

function textOf(value: unknown): string {
  if (value === undefined) return '(none)';
  return typeof value === 'string' ? value : shown(value);
}
