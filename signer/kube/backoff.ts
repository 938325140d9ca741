/** How long to wait before trying again. All times in milliseconds. */
export interface BackoffPolicy {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Counts failures and returns how long to wait. `jitter` gives a number in [0, 1). */
export function createBackoff(policy: BackoffPolicy, jitter: () => number) {
  let failures = 0;
  return {
    /** The wait before the next attempt, as `backoffMs` has it. @param retryAfterMs what the server asked for. */
    next(retryAfterMs?: number): number {
      const wait = backoffMs(policy, failures, jitter, retryAfterMs);
      failures += 1;
      return wait;
    },
    /** Starts again with the shortest wait, after a success. */
    reset(): void {
      failures = 0;
    },
    /** Calls of next() since the last reset. */
    failures: () => failures,
  };
}

/**
 * The wait after `failures` earlier failures, in milliseconds. It doubles with each from `baseMs` up to `maxMs`, and
 * lies at random in the upper half of that span, so that replicas that failed together do not come back together.
 *
 * @param retryAfterMs what the server asked for; the wait is never shorter.
 */
export function backoffMs(
  policy: BackoffPolicy,
  failures: number,
  jitter: () => number,
  retryAfterMs = 0,
): number {
  const span = Math.min(policy.maxMs, policy.baseMs * 2 ** Math.min(failures, 30));
  const wait = span / 2 + (span / 2) * jitter();
  // The server asks all replicas for the same wait. Jitter may only add to it.
  return retryAfterMs > 0 ? Math.max(wait, retryAfterMs + jitter() * policy.baseMs) : wait;
}

/** Longest wait that a server may ask for. A server, proxy or webhook must not stop the signer for good. */
const maxRetryAfterMs = 300_000;

/** A wait that a server asked for, at most five minutes; undefined if it is not a number. In milliseconds. */
export function boundRetryAfter(ms: number): number | undefined {
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), maxRetryAfterMs);
}

/**
 * Reads a Retry-After header (RFC 9110 10.2.3: seconds or a date) in milliseconds; undefined when there is none or
 * it cannot be read. Bounded by `boundRetryAfter`.
 */
export function readRetryAfter(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const text = header.trim();
  // Date.parse takes nearly anything; all three forms of an HTTP date begin with the name of the day.
  const date = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : Number.NaN;
  return boundRetryAfter(/^\d+$/.test(text) ? Number(text) * 1000 : date - now);
}
