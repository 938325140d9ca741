import type { Time } from './time.ts';

/** Our clock may be this much behind the API server's, in milliseconds: notBefore must not lie in its future. */
const slowestSkewMs = -150_000;
/** And this much ahead: a leaf is backdated by two minutes, and the server rejects a notBefore in its future. */
const fastestSkewMs = 90_000;

/** A measurement counts for this long, in milliseconds, because clocks drift. */
const windowMs = 60_000;

interface Span {
  low: number;
  high: number;
  since: number;
}

/**
 * Estimates the server's clock from the Date headers of its answers. An answer with Date D, requested at a and received
 * at b on our clock, shows that at some moment between a and b the server's clock was in [D, D + 1 s). So the offset of
 * its clock to our monotonic one lies between D - b and D + 1 s - a, and many answers together narrow that to
 * milliseconds, at any latency of each. Two answers in a row that agree with each other and not with the earlier ones
 * mean that the server's clock was set, so only they count. A single one does not count, because a proxy may have
 * answered. Jumps of our own wall clock do no harm: it is read only when the skew is requested.
 */
export function createServerClock(time: Time) {
  const { now, monotonic } = time;
  let current: Span | undefined;
  let earlier: Span | undefined;
  /** The last answer, if it contradicts the earlier ones. */
  let stray: Span | undefined;

  /** Our clock minus the server's, in milliseconds, positive when ours is fast; undefined before the first answer. */
  function skewMs(): number | undefined {
    if (!current) return undefined;
    const both = earlier ? meet(current, earlier) : undefined;
    const { low, high } = both ?? current;
    return now() - (monotonic() + (low + high) / 2);
  }

  return {
    /** Adds an answer at the moment it arrives: the server's epoch milliseconds (whole seconds) and the round trip. */
    observe(serverEpochMs: number, roundTripMs: number): void {
      const arrived = monotonic();
      const span: Span = {
        low: serverEpochMs - arrived,
        high: serverEpochMs + 1000 - (arrived - roundTripMs),
        since: arrived,
      };
      if (current === undefined) {
        current = span;
      } else if (meet(current, span) === undefined) {
        const confirmed = stray && meet(span, stray);
        stray = span;
        if (!confirmed) return;
        current = confirmed;
        earlier = undefined;
      } else if (arrived - current.since > windowMs) {
        earlier = current;
        current = span;
      } else {
        current = meet(current, span);
      }
      stray = undefined;
    },
    skewMs,
    /** The server's clock now, in epoch milliseconds; undefined before the first answer. */
    serverMs(): number | undefined {
      const skew = skewMs();
      return skew === undefined ? undefined : now() - skew;
    },
    /** Why the skew forbids signing; undefined where it is small enough. The API server's clock is the reference. */
    problem(): string | undefined {
      const skew = skewMs();
      if (skew === undefined) return 'the clock of the API server is not known yet';
      if (skew >= slowestSkewMs && skew <= fastestSkewMs) return undefined;
      const seconds = Math.round(Math.abs(skew) / 1000);
      const bounds = `at most ${-slowestSkewMs / 1000} s slow or ${fastestSkewMs / 1000} s fast is allowed`;
      return `the clock of the signer is ${seconds} s ${skew > 0 ? 'fast' : 'slow'}; ${bounds}`;
    },
  };
}

export type ServerClock = ReturnType<typeof createServerClock>;

function meet(a: Span, b: Span): Span | undefined {
  const low = Math.max(a.low, b.low);
  const high = Math.min(a.high, b.high);
  return low <= high ? { low, high, since: a.since } : undefined;
}
