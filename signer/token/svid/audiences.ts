import { type Checked, pass, refuse } from '../refusals.ts';

/** For whom JWT-SVIDs may be. */
export interface AudiencePolicy {
  /** How many a token may have. One is the advice of JWT-SVID 3.2: each of them could use it at the others. */
  readonly most: number;
  /** The only ones that may be asked for, a final `*` for any ending; undefined for no such limit. */
  readonly allowed: readonly string[] | undefined;
  /** Never: our own, and those of the API server, which may get another one. */
  readonly forbidden: () => Iterable<string>;
}

const maxAudienceLength = 1024;

/** Whether a JWT-SVID may be issued for these audiences. Pure. */
export function checkAudiences(
  wanted: readonly string[],
  policy: AudiencePolicy,
): Checked<readonly string[]> {
  if (wanted.length === 0 || wanted.includes('')) return refuse('AudienceMissing');
  if (wanted.length > policy.most) return refuse('AudienceTooMany', String(policy.most));
  if (new Set(wanted).size !== wanted.length) return refuse('AudienceMalformed', 'is there twice');
  for (const audience of wanted) {
    if (audience.length > maxAudienceLength) {
      return refuse('AudienceMalformed', `is longer than ${maxAudienceLength} characters`);
    }
    if (!/^[\x21-\x7e]+$/.test(audience)) {
      return refuse('AudienceMalformed', 'has characters other than printable ASCII, or spaces');
    }
    // Whoever swaps the parameters would have the token in the claims of another one, and in the audit log.
    if (/^eyJ[\w-]+\.[\w-]*\./.test(audience)) {
      return refuse('AudienceMalformed', 'is itself a token');
    }
    const name = alike(audience);
    if ([...policy.forbidden()].some((one) => alike(one) === name)) return refuse('AudienceForbidden');
    if (policy.allowed && !policy.allowed.some((pattern) => matches(audience, pattern))) {
      return refuse('AudienceNotAllowed');
    }
  }
  return pass(wanted);
}

/** A verifier may compare more loosely than we do. */
function alike(audience: string): string {
  return audience.toLowerCase().replace(/\/+$/, '');
}

function matches(audience: string, pattern: string): boolean {
  return pattern.endsWith('*') ? audience.startsWith(pattern.slice(0, -1)) : audience === pattern;
}
