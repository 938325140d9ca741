import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Transport } from '../../signer/kube/transport.ts';
import { isAllowed, review } from '../cluster/review.ts';
import { CliError } from '../errors.ts';
import type { Admission } from './server.ts';

/** Admits those who know a secret that is made here: it is in the URL that the command prints. */
export function secretAdmission(): { secret: string; admit: (token: string) => Promise<Admission> } {
  const secret = randomBytes(24).toString('base64url');
  const expected = Buffer.from(digestOf(secret));
  return {
    secret,
    admit: async (token) =>
      timingSafeEqual(Buffer.from(digestOf(token)), expected) ? 'admitted' : 'unknown',
  };
}

/** The right that a caller needs. It is not a path of the API server; a ClusterRole can grant it. */
const viewRight = { path: '/kubespiffe/view', verb: 'get' } as const;
/** As long as the API server itself remembers a token. */
const rememberedMs = 10_000;
const mostRemembered = 1_000;

interface TokenStatus {
  authenticated?: boolean;
  audiences?: string[];
  user?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
}

/**
 * Admits those who have a token for this audience (TokenReview) and the right to view (SubjectAccessReview). A token for
 * the API server is refused: its audience differs, so that no one sends it here by habit.
 *
 * @param now monotonic milliseconds.
 * @param onFailure gets what the API server said. The caller does not: it is not authenticated yet.
 */
export function reviewAdmission(
  api: Transport,
  audience: string,
  now: () => number,
  onFailure: (error: unknown) => void,
): (token: string) => Promise<Admission> {
  const remembered = new Map<string, { until: number; admission: Promise<Admission> }>();
  return (token) => {
    const key = digestOf(token);
    const known = remembered.get(key);
    if (known && now() < known.until) return known.admission;
    if (remembered.size >= mostRemembered) remembered.clear();
    const admission = admissionFor(api, token, audience).catch((error: unknown) => {
      onFailure(error);
      const hint = 'the log of the view has the reason';
      throw new CliError('API_STATUS', 'the token could not be checked', hint);
    });
    remembered.set(key, { until: now() + rememberedMs, admission });
    admission.catch(() => remembered.delete(key));
    return admission;
  };
}

async function admissionFor(api: Transport, token: string, audience: string): Promise<Admission> {
  const asked = { token, audiences: [audience] };
  const status = await review<TokenStatus>(api, 'authentication.k8s.io', 'tokenreviews', asked);
  // An authenticator that knows no audiences leaves them out: the token is then for the API server.
  if (status?.authenticated !== true || !status.audiences?.includes(audience)) return 'unknown';
  const { username: user, uid, groups, extra } = status.user ?? {};
  const canView = await isAllowed(api, { user, uid, groups, extra, nonResourceAttributes: viewRight });
  return canView ? 'admitted' : 'forbidden';
}

const digestOf = (token: string) => hash('sha256', token, 'hex');
