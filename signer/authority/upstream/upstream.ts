import { failure, type Result, success } from '../../../spiffe/pki/result.ts';
import type { CaMaterial } from '../import.ts';

/** What is asked of another CA: to sign a CA of ours. */
export interface UpstreamRequest {
  /** Id of the authority. */
  readonly id: string;
  /** PKCS#10, PEM. */
  readonly request: string;
  /** Undefined for a CA of no trust domain. */
  readonly trustDomain: string | undefined;
  readonly lifetimeSeconds: number;
}

/** `pending`: ask again later with the same request. `refused`: asking again changes nothing. */
export type UpstreamAnswer =
  | { readonly kind: 'signed'; readonly certificates: CaMaterial['certificates'] }
  | { readonly kind: 'pending'; readonly what: string }
  | { readonly kind: 'refused'; readonly what: string; readonly remedy: string };

/** Another CA that signs the CAs of a pool. What it answers is checked by who asks. */
export interface Upstream {
  /** For people, such as `cert-manager Issuer/company`. */
  readonly name: string;
  /** The same request may be sent again, after an interruption too. Never throws. */
  sign(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer>;
}

/** The issuerRef of a CertificateRequest. */
export interface CertManagerIssuer {
  readonly name: string;
  readonly kind: string;
  readonly group: string;
}

/** Which CA that is, as a person writes it. */
export type UpstreamPlace =
  | { readonly kind: 'cert-manager'; readonly issuer: CertManagerIssuer }
  | {
      readonly kind: 'vault';
      /** With the mount of the PKI engine as its path. */
      readonly url: URL;
    };

const forms = 'write cert-manager:Issuer/NAME, cert-manager:ClusterIssuer/NAME, or vault:https://HOST/MOUNT';
const label = '[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?';
const issuerForm = new RegExp(`^([A-Za-z][A-Za-z0-9]{0,62})(?:\\.(${label}))?/(${label})$`);

/** Reads `KIND/NAME`, or `KIND.GROUP/NAME` for an issuer of another group than that of cert-manager. Never throws. */
export function parseIssuer(text: string): Result<CertManagerIssuer> {
  const [, kind, group = 'cert-manager.io', , name] = issuerForm.exec(text) ?? [];
  if (kind === undefined || name === undefined) return failure('names no issuer of cert-manager');
  return success({ name, kind, group });
}

/**
 * Reads `cert-manager:KIND/NAME`, `cert-manager:KIND.GROUP/NAME` for an issuer of another group, or
 * `vault:https://HOST[:PORT]/MOUNT`. Never throws.
 */
export function parseUpstream(text: string): Result<UpstreamPlace> {
  const [scheme, ...rest] = text.split(':');
  const value = rest.join(':');
  if (scheme === 'cert-manager') {
    const issuer = parseIssuer(value);
    return issuer.ok
      ? success({ kind: 'cert-manager', issuer: issuer.value })
      : failure(`${issuer.reason}; ${forms}`);
  }
  if (scheme !== 'vault') return failure(`is neither cert-manager nor vault; ${forms}`);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== 'https:') return failure(`is not an https URL of Vault; ${forms}`);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    return failure(`has more than a host and a mount; ${forms}`);
  }
  if (!/^(\/[A-Za-z0-9_-]+)+\/?$/.test(url.pathname)) return failure(`names no mount of Vault; ${forms}`);
  return success({ kind: 'vault', url });
}
