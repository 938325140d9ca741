import { shownTerms } from '../identity/identify.ts';
import { type EventRecorder, podWarning } from '../kube/events.ts';
import type { Time } from '../kube/time.ts';
import { type Audit, auditOutcome } from '../observe/audit.ts';
import { type Checked, describe, type Refused } from '../observe/checked.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { refusals } from '../observe/refusals.ts';
import { type Attributes, showOutcome } from '../observe/span.ts';
import type { ProvedOwner } from './caller/caller.ts';
import type { IssuedToken } from './svid/jwt-service.ts';
import type { RequestContext } from './svid/request-context.ts';
import type { IssuedX509Svid } from './svid/x509-service.ts';

/** Bytes of a subject that Google Cloud takes. SPIFFE IDs are ASCII, so as many characters. */
const longestForGoogle = 127;
const maxWarnedOf = 1_000;

/**
 * Reports every answer in the same places: metrics, audit line, log and, for a refusal whose pod is known, an Event on
 * it. Refusals for documents and unknown paths are counted by listener, and have no audit line. What a flood of requests
 * is refused for is only counted, or the flood would go on in the log.
 */
export function createTokenReporter(needs: {
  readonly log: Pick<Logger, 'debug' | 'info' | 'warn'>;
  readonly metrics: Pick<
    Metrics,
    'tokens' | 'tokenSeconds' | 'x509Svids' | 'x509SvidSeconds' | 'otherRefusals'
  >;
  readonly audit: Audit;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly time: Time;
}): Report {
  const { log, metrics, audit, events } = needs;
  const counted = {
    token: { answers: metrics.tokens, seconds: metrics.tokenSeconds, issued: 'JWT-SVID issued' },
    'x509-svid': { answers: metrics.x509Svids, seconds: metrics.x509SvidSeconds, issued: 'X509-SVID issued' },
  };
  // Start at zero: a rate over a series that begins with the first refusal does not show that one.
  for (const [reason, { verdict, alarm }] of Object.entries(refusals)) {
    if (!alarm) continue;
    for (const { answers } of Object.values(counted)) answers.inc({ outcome: verdict, reason }, 0);
  }
  const warnedOf = new Set<string>();

  /** Once for each SPIFFE ID, until the memory of them is full and is cleared. */
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

  /** Anybody may send such requests at any rate, so they are counted, and logged at debug level. */
  function reportOther(listener: string, { address }: RequestContext, outcome: Refused): void {
    const { code } = outcome;
    metrics.otherRefusals.inc({ listener, reason: code });
    if (isOfFlood(code)) return;
    const line = { listener, reason: code, address };
    if (refusals[code].alarm) log.warn(line, describe(outcome));
    else log.debug(line, describe(outcome));
  }

  return ({ listener, svid }, context, outcome) => {
    const { address, caller, span } = context;
    if (!svid) {
      if (!outcome.ok) reportOther(listener, context, outcome);
      return;
    }
    const elapsedMs = needs.time.monotonic() - context.startedAt;
    const reason = outcome.ok ? 'Issued' : outcome.code;
    const verdict = outcome.ok ? 'issue' : refusals[outcome.code].verdict;
    const { answers, seconds, issued } = counted[svid];
    answers.inc({ outcome: verdict, reason });
    seconds.observe({ outcome: verdict }, elapsedMs / 1000);
    const message = outcome.ok ? undefined : describe(outcome);
    if (span) {
      const spiffeId = outcome.ok ? outcome.value.spiffeId : undefined;
      showOutcome(span, { verdict, reason, message: message ?? '', spiffeId });
      if (caller) span.set(attributesOf(caller));
      span.end();
    }
    if (isOfFlood(reason)) return;

    audit({
      outcome: auditOutcome[verdict],
      reason,
      ...(message !== undefined && { message }),
      address,
      ...(caller && {
        namespace: caller.namespace,
        pod: caller.pod,
        serviceAccount: caller.serviceAccount,
        credentialId: caller.id,
      }),
      ...(outcome.ok ? auditedFacts(outcome.value) : { event: svid }),
      ...(span && { traceId: span.traceId }),
    });

    const line = {
      reason,
      address,
      ...(caller && { pod: `${caller.namespace}/${caller.pod.name}` }),
      ...(outcome.ok && { spiffeId: outcome.value.spiffeId }),
      durationMs: Math.round(elapsedMs),
    };
    if (outcome.ok) {
      if (svid === 'token') warnOfLength(outcome.value.spiffeId);
      log.debug(line, issued);
      return;
    }
    if (refusals[outcome.code].alarm) log.warn(line, message);
    else log.info(line, message);
    if (!caller) return;
    const { namespace, pod } = caller;
    const key = `${pod.uid}/${svid}/${reason}`;
    events.record(podWarning({ namespace, ...pod }, verdict, { key, reason, note: message ?? '' }));
  };
}

function attributesOf({ namespace, pod }: ProvedOwner): Attributes {
  return { 'k8s.namespace.name': namespace, 'k8s.pod.name': pod.name, 'k8s.pod.uid': pod.uid };
}

/** The facts of an SVID for the audit line, without the token itself. */
function auditedFacts(issued: IssuedToken | IssuedX509Svid) {
  const { spiffeId, notAfter } = issued;
  const terms = shownTerms(issued);
  if (issued.kind === 'token') {
    const { tokenId, keyId } = issued;
    const audiences = issued.audiences.slice(0, 10).map((audience) => audience.slice(0, 200));
    return { event: issued.kind, audiences, spiffeId, ...terms, tokenId, keyId, notAfter };
  }
  const { serial, publicKeySha256, authority, notBefore, dnsNames } = issued;
  const names = { spiffeId, ...terms, ...(dnsNames.length > 0 && { dnsNames }) };
  return { event: issued.kind, ...names, serial, publicKeySha256, authority, notBefore, notAfter };
}

/** Reports the result of a request; to be called once for each. */
export type Report = (
  to: {
    /** Such as `token-endpoint`. */
    readonly listener: string;
    /** What is issued at the path of the request; undefined for documents and unknown paths. */
    readonly svid: 'token' | 'x509-svid' | undefined;
  },
  context: RequestContext,
  outcome: Checked<IssuedToken | IssuedX509Svid>,
) => void;

/** What requests are refused for when there are too many. */
const isOfFlood = (reason: string) => reason === 'AddressLimited' || reason === 'Overloaded';
