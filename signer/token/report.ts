import type { EventRecorder } from '../kube/events.ts';
import type { Audit, TokenAuditRecord, X509AuditRecord } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { ProvedOwner } from './caller/caller.ts';
import { describe, type Refused, refusals } from './refusals.ts';

/** What is known of an answer when it is told. Holds no token. */
interface ToldOf<Event extends string, Facts> {
  /** What was asked for. */
  readonly event: Event;
  /** Address of the caller. */
  readonly address: string;
  readonly elapsedMs: number;
  /** Whose request it is; absent until that is proved. */
  readonly caller?: ProvedOwner;
  readonly outcome: { readonly ok: true; readonly issued: Facts } | Refused;
}

/** What the audit line says of a JWT-SVID. */
export type JwtSvidFacts = Required<
  Pick<TokenAuditRecord, 'spiffeId' | 'audiences' | 'tokenId' | 'keyId' | 'notAfter'>
>;

/** What the audit line says of an X509-SVID. */
export type X509SvidFacts = Required<
  Pick<X509AuditRecord, 'spiffeId' | 'serial' | 'publicKeySha256' | 'authority' | 'notBefore' | 'notAfter'>
>;

/** A refusal of a request that was for no SVID: for a document, for nothing that is here, or of what is no request. */
interface OtherTold {
  readonly event: 'other';
  /** Which listener it came to. */
  readonly listener: string;
  readonly address: string;
  readonly outcome: Refused;
}

/** An answer to a request for an SVID. */
export type SvidTold = ToldOf<'token', JwtSvidFacts> | ToldOf<'x509-svid', X509SvidFacts>;

/** Bytes of a subject that Google Cloud takes. SPIFFE IDs are ASCII, so as many characters. */
const longestForGoogle = 127;
const maxWarnedOf = 1_000;

/**
 * Tells every answer in the same places: metrics, audit line, log and, for a refusal whose pod is known, an Event on
 * it. What a flood of requests is refused for is counted only, or the flood would go on in the log.
 */
export function createTokenReporter(needs: {
  readonly log: Pick<Logger, 'debug' | 'info' | 'warn'>;
  readonly metrics: Pick<
    Metrics,
    'tokens' | 'tokenSeconds' | 'x509Svids' | 'x509SvidSeconds' | 'otherRefusals'
  >;
  readonly audit: Audit;
  readonly events: Pick<EventRecorder, 'record'>;
}) {
  const { log, metrics, audit, events } = needs;
  const counted = {
    token: { answers: metrics.tokens, seconds: metrics.tokenSeconds, issued: 'JWT-SVID issued' },
    'x509-svid': { answers: metrics.x509Svids, seconds: metrics.x509SvidSeconds, issued: 'X509-SVID issued' },
  };
  // From zero on: a rate over a series that begins with the first refusal does not show the first one.
  for (const [reason, { verdict, alarm }] of Object.entries(refusals)) {
    if (!alarm) continue;
    for (const { answers } of Object.values(counted)) answers.inc({ outcome: verdict, reason }, 0);
  }
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

  /** Anybody may send such requests at any rate: they are counted, and are in the log for who looks closely. */
  function tellOther({ listener, address, outcome }: OtherTold): void {
    const { code } = outcome;
    metrics.otherRefusals.inc({ listener, reason: code });
    if (isOfFlood(code)) return;
    const line = { listener, reason: code, address };
    if (refusals[code].alarm) log.warn(line, describe(outcome));
    else log.debug(line, describe(outcome));
  }

  return function tell(told: SvidTold | OtherTold): void {
    if (told.event === 'other') {
      tellOther(told);
      return;
    }
    const { outcome, caller } = told;
    const reason = outcome.ok ? 'Issued' : outcome.code;
    const verdict = outcome.ok ? 'issue' : refusals[outcome.code].verdict;
    const { answers, seconds, issued } = counted[told.event];
    answers.inc({ outcome: verdict, reason });
    seconds.observe({ outcome: verdict }, told.elapsedMs / 1000);
    if (isOfFlood(reason)) return;

    const message = outcome.ok ? undefined : describe(outcome);
    const common = {
      outcome: outcomeOf[verdict],
      reason,
      ...(message !== undefined && { message }),
      address: told.address,
      ...(caller && {
        namespace: caller.namespace,
        pod: caller.pod,
        serviceAccount: caller.serviceAccount,
        credentialId: caller.id,
      }),
    };
    if (told.event === 'token') {
      const { audiences = [], ...facts }: Partial<JwtSvidFacts> = told.outcome.ok ? told.outcome.issued : {};
      const shown = audiences.slice(0, 10).map((audience) => audience.slice(0, 200));
      audit({ event: told.event, ...common, ...(told.outcome.ok && { audiences: shown }), ...facts });
    } else {
      audit({ event: told.event, ...common, ...(told.outcome.ok ? told.outcome.issued : {}) });
    }

    const line = {
      reason,
      address: told.address,
      ...(caller && { pod: `${caller.namespace}/${caller.pod.name}` }),
      ...(outcome.ok && { spiffeId: outcome.issued.spiffeId }),
      durationMs: Math.round(told.elapsedMs),
    };
    if (outcome.ok) {
      if (told.event === 'token') warnOfLength(outcome.issued.spiffeId);
      log.debug(line, issued);
      return;
    }
    if (refusals[outcome.code].alarm) log.warn(line, message);
    else log.info(line, message);
    if (caller) events.record(eventOf(told.event, caller, outcome, message ?? ''));
  };
}

export type TokenReporter = (told: SvidTold) => void;

/** What requests are refused for when there are too many. */
const isOfFlood = (reason: string) => reason === 'AddressLimited' || reason === 'Overloaded';

const outcomeOf = { issue: 'Issued', deny: 'Denied', wait: 'Wait' } as const;

function eventOf(
  event: SvidTold['event'],
  caller: ProvedOwner,
  { code }: Refused,
  note: string,
): Parameters<EventRecorder['record']>[0] {
  return {
    key: `${caller.pod.uid}/${event}/${code}`,
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
