import { failure, type Result, success } from './pki/result.ts';

/** SPIFFE-ID 2.1: longest trust domain name, in bytes. */
const maxTrustDomainBytes = 255;

/**
 * Checks the bare name of a trust domain, for example `example.org` (SPIFFE-ID 2.1). Names that
 * look like an IPv4 address or begin with a hyphen are allowed: the standard gives them no special meaning.
 */
export function parseTrustDomain(name: string): Result<string> {
  if (name === '') return failure('the trust domain is empty (SPIFFE-ID 2.1)');
  if (name.includes('://')) return failure('a trust domain is a bare name such as "example.org", not a URI');
  if (!/^[a-z0-9._-]*$/.test(name)) {
    const hint = /^[A-Za-z0-9._-]*$/.test(name) ? '; write it in lower case' : '';
    return failure(
      `a trust domain has only the characters a-z, 0-9, ".", "-" and "_"${hint} (SPIFFE-ID 2.1)`,
    );
  }
  if (name.length > maxTrustDomainBytes) {
    return failure(
      `a trust domain has at most ${maxTrustDomainBytes} characters, this one ${name.length} (SPIFFE-ID 2.1)`,
    );
  }
  return success(name);
}

/**
 * As `parseTrustDomain`, for the trust domain that a signer on Kubernetes issues for. SPIFFE allows dots anywhere;
 * the API server reads every certificate with Go's crypto/x509 (domainNameValid), which refuses a URI whose host
 * begins or ends with a dot or has two in a row, so not one request could be answered.
 */
export function parseIssuingTrustDomain(name: string): Result<string> {
  const trustDomain = parseTrustDomain(name);
  if (trustDomain.ok && name.split('.').includes('')) {
    return failure(
      'the trust domain begins or ends with "." or has ".." in it: the API server would refuse its certificates',
    );
  }
  return trustDomain;
}

/**
 * Whether a trust domain is one of `kubespiffe dev`: `dev.localhost`, or a name below it. Its CA keys are made on
 * laptops, so no signer issues for it and nothing else should trust it. Nobody can own it: RFC 6761 6.3 reserves `localhost`.
 */
export function isDevTrustDomain(name: string): boolean {
  return name === devTrustDomain || name.endsWith(`.${devTrustDomain}`);
}

export const devTrustDomain = 'dev.localhost';
