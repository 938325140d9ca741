import type { EventRecorder } from '../kube/events.ts';
import type { Audit } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Caller } from './caller.ts';
import type { MintedToken } from './mint.ts';
import { describe, type Refused, refusals } from './refusals.ts';

/** What is known of an answer when it is told. Holds no token. */
export interface Told {
  /** Address of the caller. */
  readonly address: string;
  readonly elapsedMs: number;
  /** What was asked for; absent while the request could not be read. */
  readonly audiences?: readonly string[];
  /** Whose request it is; absent until the API server has vouched for it. */
  readonly caller?: Caller;
  readonly outcome:
    | {
        readonly ok: true;
        readonly spiffeId: string;
        readonly keyId: string;
        readonly minted: Omit<MintedToken, 'token'>;
      }
    | Refused;
}

/** Bytes of a subject that Google Cloud takes. SPIFFE IDs are ASCII, so as many characters. */
const longestForGoogle = 127;
const maxWarnedOf = 1_000;

/**
 * Tells every answer in the same places: metrics, audit line, log and, for a refusal whose pod is known, an Event on
 * it. What a flood of requests is refused for is counted only, or the flood would go on in the log.
 */
export function createTokenReporter(needs: {
  readonly log: Pick<Logger, 'debug' | 'info' | 'warn'>;
  readonly metrics: Pick<Metrics, 'tokens' | 'tokenSeconds'>;
  readonly audit: Audit;
  readonly events: Pick<EventRecorder, 'record'>;
}) {
  const { log, metrics, audit, events } = needs;
  const warnedOf = new Set<string>();

  /** Once for each SPIFFE ID, as far as they can be remembered. */
  function warnOfLength(spiffeId: string): void {
    if (spiffeId.length <= longestForGoogle || warnedOf.has(spiffeId)) return;
    if (warnedOf.size >= maxWarnedOf) warnedOf.clear();
    warnedOf.add(spiffeId);
    log.warn(
      { spiffeId, bytes: spiffeId.length },
      `the SPIFFE ID has more than ${longestForGoogle} bytes, which Google Cloud refuses as google.subject; ` +
        'map a part of it there, as docs/guides/google-cloud.md shows',
    );
  }

  return function tell(told: Told): void {
    const { outcome, caller } = told;
    const reason = outcome.ok ? 'Issued' : outcome.code;
    const verdict = outcome.ok ? 'issue' : refusals[outcome.code].verdict;
    metrics.tokens.inc({ outcome: verdict, reason });
    metrics.tokenSeconds.observe({ outcome: verdict }, told.elapsedMs / 1000);
    if (reason === 'AddressLimited' || reason === 'Overloaded') return;

    const message = outcome.ok ? undefined : describe(outcome);
    const audiences = told.audiences?.slice(0, 10).map((audience) => audience.slice(0, 200));
    audit({
      event: 'token',
      outcome: verdict === 'issue' ? 'Issued' : verdict === 'deny' ? 'Denied' : 'Wait',
      reason,
      ...(message !== undefined && { message }),
      address: told.address,
      ...(audiences && { audiences }),
      ...(caller && {
        namespace: caller.namespace,
        pod: caller.pod,
        serviceAccount: caller.serviceAccount,
        credentialId: caller.id,
      }),
      ...(outcome.ok && {
        spiffeId: outcome.spiffeId,
        tokenId: outcome.minted.id,
        keyId: outcome.keyId,
        notAfter: outcome.minted.expiresAt,
      }),
    });

    const line = {
      reason,
      address: told.address,
      ...(caller && { pod: `${caller.namespace}/${caller.pod.name}` }),
      ...(outcome.ok && { spiffeId: outcome.spiffeId }),
      durationMs: Math.round(told.elapsedMs),
    };
    if (outcome.ok) {
      warnOfLength(outcome.spiffeId);
      log.debug(line, 'JWT-SVID issued');
      return;
    }
    if (refusals[outcome.code].alarm) log.warn(line, message);
    else log.info(line, message);
    if (caller) events.record(eventOf(caller, outcome, message ?? ''));
  };
}

export type TokenReporter = ReturnType<typeof createTokenReporter>;

function eventOf(caller: Caller, { code }: Refused, note: string): Parameters<EventRecorder['record']>[0] {
  return {
    key: `${caller.pod.uid}/token/${code}`,
    regarding: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: caller.namespace,
      name: caller.pod.name,
      uid: caller.pod.uid,
    },
    type: 'Warning',
    reason: code,
    action: refusals[code].verdict === 'deny' ? 'Deny' : 'Wait',
    note,
  };
}
