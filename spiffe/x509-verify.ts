import { unprocessedExtensions } from './clauses.ts';
import { checkLeaf } from './conformance.ts';
import { parseSpiffeId, type SpiffeId } from './id.ts';
import { allowsDnsName, dnsConstraintsOf, judgeNameConstraints } from './name-constraints.ts';
import { type CertificateFacts, readCertificate } from './pki/certificate.ts';
import { rfc3339, type Seconds } from './pki/time.ts';
import { isSignedBy } from './pki/verify.ts';

/** What a certificate chain was refused for. */
export type X509Rule =
  /** There is no certificate, or it cannot be read. */
  | 'certificate'
  /** The leaf breaks a MUST of X509-SVID. */
  | 'x509-svid'
  /** The leaf is expired, or not valid yet. */
  | 'validity'
  /** There is no bundle of its trust domain. */
  | 'trust-domain'
  /** It does not lead to a root in the bundle of its trust domain. */
  | 'chain';

export type X509Verdict =
  | {
      readonly ok: true;
      readonly id: SpiffeId;
      /** The leaf, the intermediates that lead to the root, and the root: what makes the verdict right, and until when. */
      readonly path: readonly CertificateFacts[];
    }
  | {
      readonly ok: false;
      readonly rule: X509Rule;
      readonly reason: string;
      /** The SPIFFE ID that the leaf claims, where it can be read. */
      readonly claimed?: string | undefined;
    };

/** Most certificates that are read beside the leaf, and most signatures that are verified for one chain. */
const maxIntermediates = 10;
const maxSignatures = 32;

/**
 * Verifies the certificate chain of a peer (X509-SVID 5): every MUST clause for its leaf, its dates, and a path to a root
 * of the trust domain that its SPIFFE ID names, and of no other. On the path, each issuer is a CA that may sign
 * certificates, valid now, within its path length and name constraints. Order and gaps of the intermediates do not
 * matter. Never throws.
 *
 * @param chain DER: the leaf, then the intermediates that the peer sent.
 * @param rootsOf the roots of a trust domain by its name; undefined where it is not known.
 */
export function verifyX509Svid(
  chain: readonly Uint8Array[],
  rootsOf: (trustDomain: string) => readonly CertificateFacts[] | undefined,
  now: Seconds,
): X509Verdict {
  const [leafDer, ...others] = chain;
  if (!leafDer) return refused('certificate', 'it has no certificate');
  if (others.length > maxIntermediates) {
    return refused('chain', `it has ${others.length} intermediates; at most ${maxIntermediates} are read`);
  }
  const read = readCertificate(leafDer);
  if (!read.ok) return refused('certificate', `its certificate cannot be read: ${read.reason}`);
  const leaf = read.value;
  const id = parseSpiffeId(leaf.uris[0] ?? '');
  const claimed = id.ok ? id.value.uri : undefined;
  const broken = checkLeaf(leaf).find(({ ok, level }) => level === 'must' && !ok);
  if (broken) return refused('x509-svid', `${broken.message} (${broken.clause})`, claimed);
  if (!id.ok) return refused('x509-svid', id.reason);
  if (!isInTime(leaf, now)) return refused('validity', dateReason(leaf, now), claimed);
  const { trustDomain } = id.value;
  const roots = rootsOf(trustDomain);
  if (!roots) return refused('trust-domain', `there is no bundle of ${trustDomain}`, claimed);
  const path = pathToRoot(leaf, others, roots, { trustDomain, now, dnsNames: leaf.dnsNames });
  if (path) return { ok: true, id: id.value, path };
  return refused('chain', `it leads to no root in the bundle of ${trustDomain}`, claimed);
}

function refused(rule: X509Rule, reason: string, claimed?: string): X509Verdict {
  return { ok: false, rule, reason, claimed };
}

/** What the names of a leaf are, and when it is verified. */
interface Expected {
  readonly trustDomain: string;
  readonly dnsNames: readonly string[];
  readonly now: Seconds;
}

function pathToRoot(
  leaf: CertificateFacts,
  others: readonly Uint8Array[],
  roots: readonly CertificateFacts[],
  expected: Expected,
): readonly CertificateFacts[] | undefined {
  let signatures = 0;
  const isIssuerOf = (issuer: CertificateFacts, path: readonly CertificateFacts[]) => {
    const last = path.at(-1) ?? leaf;
    if (Buffer.compare(last.issuerDer, issuer.subjectDer) !== 0) return false;
    if (!maySign(issuer, path.length - 1, expected)) return false;
    signatures += 1;
    return signatures <= maxSignatures && isSignedBy(last, issuer);
  };
  let intermediates: readonly CertificateFacts[] | undefined;
  const complete = (path: readonly CertificateFacts[]): readonly CertificateFacts[] | undefined => {
    const root = roots.find((each) => isIssuerOf(each, path));
    if (root) return [...path, root];
    // Most leaves are signed by a root, and then nothing else is read.
    intermediates ??= others.map((der) => readCertificate(der)).flatMap((one) => (one.ok ? one.value : []));
    for (const next of intermediates) {
      const found = !path.includes(next) && isIssuerOf(next, path) ? complete([...path, next]) : undefined;
      if (found) return found;
    }
    return undefined;
  };
  return complete([leaf]);
}

/**
 * Whether an issuer may stand on a path (RFC 5280 6.1.4).
 *
 * @param below how many intermediates are between it and the leaf.
 */
function maySign(issuer: CertificateFacts, below: number, { trustDomain, dnsNames, now }: Expected): boolean {
  const dns = dnsConstraintsOf(issuer);
  return (
    issuer.isCa &&
    (issuer.keyUsage?.includes('keyCertSign') ?? true) &&
    (issuer.pathLen ?? below) >= below &&
    isInTime(issuer, now) &&
    unprocessedExtensions(issuer).length === 0 &&
    judgeNameConstraints(issuer, trustDomain).kind !== 'refused' &&
    dns.ok &&
    dnsNames.every((name) => !dns.value || allowsDnsName(dns.value, name.toLowerCase()))
  );
}

const isInTime = ({ notBefore, notAfter }: CertificateFacts, now: Seconds): boolean =>
  now >= notBefore && now <= notAfter;

const dateReason = ({ notBefore, notAfter }: CertificateFacts, now: Seconds): string =>
  now > notAfter
    ? `its certificate expired at ${rfc3339(notAfter)}`
    : `its certificate is not valid before ${rfc3339(notBefore)}`;
