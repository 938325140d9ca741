import type { Time } from '../kube/time.ts';

/** A problem that was not seen for this time is reported again, in milliseconds. Longer than the longest pause between two tries. */
const forgottenAfterMs = 60_000;
const maxRemembered = 100;

/**
 * Distinguishes new problems from those that last, so that a loop logs each problem once, even if two problems alternate.
 * @returns a function that says whether a message is news.
 */
export function createNews({ monotonic }: Time): (message: string) => boolean {
  const seenAt = new Map<string, number>();
  return (message) => {
    // Ports and milliseconds differ each time, and say nothing new. Shorter numbers may be a status.
    const key = message.replace(/[\d.]+ ms|\d{4,}/g, '…');
    const isNews = monotonic() - (seenAt.get(key) ?? Number.NEGATIVE_INFINITY) > forgottenAfterMs;
    seenAt.delete(key);
    seenAt.set(key, monotonic());
    for (const [oldest] of seenAt) {
      if (seenAt.size <= maxRemembered) break;
      seenAt.delete(oldest);
    }
    return isNews;
  };
}
