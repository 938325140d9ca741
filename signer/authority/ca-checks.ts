import { unprocessedExtensions } from '../../spiffe/clauses.ts';
import { dnsConstraintsOf, judgeNameConstraints } from '../../spiffe/name-constraints.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { soleBlock } from '../../spiffe/pki/pem.ts';
import { isSignedBy } from '../../spiffe/pki/verify.ts';
import { type PoolProblem, type PoolProblemReason, poolProblem } from './problem.ts';
import { publicKeyOf } from './read-keys.ts';

/** What verifiers ask of the certificates of a CA, so that they accept what it signs. */

const correct =
  'use a CA without this problem; if the pool was in use, put a copy back with `kubespiffe ca restore`';

/** Leaves a sequence of checks at the first problem. `readAuthority` catches it. */
export class ProblemFound extends Error {
  readonly problem: PoolProblem;

  constructor(field: string, what: string, remedy = correct, reason: PoolProblemReason = 'PoolMalformed') {
    super(what);
    this.problem = poolProblem(reason, field, what, remedy);
  }
}

/** The facts of a certificate that can sign leaves. */
export function readCa(pem: string, field: string): CertificateFacts {
  const der = soleBlock(pem, 'CERTIFICATE');
  if (!der) throw new ProblemFound(field, 'is not one PEM certificate');
  const read = readCertificate(der);
  if (!read.ok) throw new ProblemFound(field, `cannot be read (${read.reason})`);
  const facts = read.value;
  try {
    publicKeyOf(facts);
  } catch {
    throw new ProblemFound(field, 'has a public key that cannot be read');
  }
  if (!facts.isCa) throw new ProblemFound(field, 'is not a CA certificate (basicConstraints CA:true)');
  if (facts.keyUsage && !facts.keyUsage.includes('keyCertSign')) {
    throw new ProblemFound(field, 'has a keyUsage without keyCertSign');
  }
  // Verifiers hold leaves to the purposes of their issuers too, though RFC 5280 does not ask for it.
  const lacking = ['serverAuth', 'clientAuth'].filter((purpose) => !facts.extKeyUsage.includes(purpose));
  const isLimited = facts.extKeyUsage.length > 0 && !facts.extKeyUsage.includes('anyExtendedKeyUsage');
  if (isLimited && lacking.length > 0) {
    throw new ProblemFound(
      field,
      `has an extKeyUsage without ${lacking.join(' and ')}, which its leaves need`,
    );
  }
  return facts;
}

/** The chain from the issuer of the leaves to the root: names, signatures, path lengths, a self-signed end. */
export function checkChain(chain: readonly CertificateFacts[], field: string): void {
  chain.forEach((certificate, index) => {
    const isRoot = index === chain.length - 1;
    const place = isRoot ? `${field}.certificate` : `${field}.intermediates[${index}]`;
    const issuer = chain[index + 1] ?? certificate;
    const who = isRoot
      ? 'itself, so it is not a root'
      : index === chain.length - 2
        ? 'the root'
        : 'the next intermediate';
    if (!isSignedBy(certificate, issuer)) {
      throw new ProblemFound(
        place,
        `is not signed by ${who}`,
        'give the complete chain, with the issuer of the leaf certificates first',
      );
    }
    // RFC 5280 4.2.1.9: how many intermediates may stand between this certificate and a leaf.
    if (certificate.pathLen !== undefined && certificate.pathLen < index) {
      throw new ProblemFound(
        place,
        `allows ${certificate.pathLen} intermediates below it, and there are ${index}`,
      );
    }
  });
}

/** What makes OpenSSL or Go refuse every certificate below a CA: unknown critical extensions and name constraints. */
export function checkConstraints(
  certificate: CertificateFacts,
  field: string,
  trustDomain: string | undefined,
): string[] {
  const unknown = unprocessedExtensions(certificate);
  if (unknown.length > 0) {
    const what = `has the critical extension ${unknown.join(', ')}, so verifiers refuse what it signs`;
    throw new ProblemFound(field, what, 'use a CA without this extension');
  }
  if (trustDomain === undefined) {
    const read = dnsConstraintsOf(certificate);
    if (read.ok) return [];
    throw new ProblemFound(
      field,
      `${read.reason}, so verifiers refuse what it signs`,
      'use a CA without them',
    );
  }
  const constraints = judgeNameConstraints(certificate, trustDomain);
  if (constraints.kind === 'refused') {
    const what = `${constraints.reason}, so verifiers refuse the SPIFFE IDs of ${trustDomain}`;
    throw new ProblemFound(
      field,
      what,
      `use a CA whose name constraints permit ${trustDomain} as the host of a URI`,
    );
  }
  if (constraints.kind === 'none' || constraints.otherKinds.length === 0) return [];
  const kinds = constraints.otherKinds.join(' and ');
  return [`${field}: has nameConstraints for ${kinds} names, which limit such names beside the SPIFFE ID`];
}

/** A signing certificate should be an SVID of the trust domain it issues for (X509-SVID 4.1, 4.2). */
export function checkTrustDomain(
  certificate: CertificateFacts,
  field: string,
  trustDomain: string | undefined,
): string[] {
  const expected = trustDomain === undefined ? undefined : `spiffe://${trustDomain}`;
  const ids = certificate.uris.filter((uri) => /^spiffe:/i.test(uri));
  const foreign = ids.find((uri) => uri !== expected);
  if (foreign !== undefined) {
    throw new ProblemFound(
      field,
      `carries the SPIFFE ID ${JSON.stringify(foreign.slice(0, 300))}, and the trust domain is ${trustDomain ?? 'none'}`,
      `use a CA of ${trustDomain ?? 'no trust domain'}; change the trust domain only if it is wrong, since every SPIFFE ID contains it`,
      'PoolTrustDomainMismatch',
    );
  }
  if (ids.length > 1) throw new ProblemFound(field, 'carries its SPIFFE ID more than once');
  return ids.length === 1 || expected === undefined
    ? []
    : [`${field}: carries no SPIFFE ID, so it does not say whose CA it is (${expected})`];
}
