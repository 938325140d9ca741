import type { TokenConfig } from '../../config/endpoints.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';

/** For whom JWT-SVIDs may be. */
export interface AudiencePolicy extends Pick<TokenConfig, 'maxAudiences' | 'allowedAudiences'> {
  readonly isForbidden: (audience: string) => boolean;
}

const maxAudienceLength = 1024;

/** Whether a JWT-SVID may be issued for these audiences. Pure. */
export function checkAudiences(
  wanted: readonly string[],
  policy: AudiencePolicy,
): Checked<readonly string[]> {
  if (wanted.length === 0 || wanted.includes('')) return refuse('AudienceMissing');
  if (wanted.length > policy.maxAudiences) {
    return refuse('AudienceTooMany', String(policy.maxAudiences));
  }
  if (new Set(wanted).size !== wanted.length) return refuse('AudienceMalformed', 'occurs more than once');
  for (const audience of wanted) {
    if (audience.length > maxAudienceLength) {
      return refuse('AudienceMalformed', `is longer than ${maxAudienceLength} characters`);
    }
    if (!/^[\x21-\x7e]+$/.test(audience)) {
      return refuse('AudienceMalformed', 'has characters other than printable ASCII, or spaces');
    }
    // If a client swaps the parameters, its token must not get into the claims of a JWT-SVID and the audit log.
    if (/^eyJ[\w-]+\.[\w-]*\./.test(audience)) {
      return refuse('AudienceMalformed', 'is itself a token');
    }
    if (policy.isForbidden(audience)) return refuse('AudienceForbidden');
  }
  return checkAllowed(wanted, policy.allowedAudiences, 'the setting jwtAudiences');
}

/**
 * Answers whether an audience is one of these, compared in the loose form.
 *
 * @param audiences our own and those of the API server. More of them may come while we run, none goes: so the loose form of
 *   each is made once, which takes some microseconds.
 */
export function createForbiddenAudiences(audiences: () => Iterable<string>): (audience: string) => boolean {
  const known = new Set<string>();
  const looseForms = new Set<string>();
  return (audience) => {
    for (const one of audiences()) {
      if (known.has(one)) continue;
      known.add(one);
      looseForms.add(looseForm(one));
    }
    return looseForms.has(looseForm(audience));
  };
}

/** Whether all audiences are among the allowed ones. Pure. */
export function checkAllowed(
  wanted: readonly string[],
  allowed: readonly string[] | undefined,
  by: string,
): Checked<readonly string[]> {
  const isAllowed = (audience: string) => allowed?.some((pattern) => matches(audience, pattern)) ?? true;
  return wanted.every(isAllowed) ? pass(wanted) : refuse('AudienceNotAllowed', by);
}

/**
 * The form in which an audience is compared with the forbidden ones. A verifier may compare more loosely than the API
 * server, which compares byte for byte. So two audiences are the same if they differ only in letter case,
 * percent-encoding, user information, default port, a final dot of the host, dot segments or extra slashes in the path,
 * query or fragment.
 */
function looseForm(audience: string): string {
  const text = fullyDecoded(audience).toLowerCase();
  // A host with a port has no scheme before its colon.
  const hasScheme = /^[a-z][a-z0-9+.-]*:(?!\d)/.test(text);
  const url = URL.parse(hasScheme ? text : `https://${text}`);
  if (!url) return text;
  const { protocol, hostname, pathname } = url;
  // The URL standard knows the default ports of the web alone. A SPIFFE ID has no port at all (SPIFFE-ID 2.1).
  const port = protocol === 'spiffe:' ? '' : url.port;
  const path = pathname.replace(/\/{2,}/g, '/').replace(/\/$/, '');
  return [hasScheme ? protocol : '', hostname.replace(/\.+$/, ''), port, path].join(' ');
}

/** Decodes each percent-encoded byte, also those that appear only after decoding (`%252e`). */
function fullyDecoded(text: string): string {
  const decoded = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return decoded === text ? text : fullyDecoded(decoded);
}

function matches(audience: string, pattern: string): boolean {
  return pattern.endsWith('*') ? audience.startsWith(pattern.slice(0, -1)) : audience === pattern;
}
