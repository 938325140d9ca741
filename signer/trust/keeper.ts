import { messageOf } from '../../spiffe/errors.ts';
import type { Membership } from '../kube/membership.ts';
import { createQueue } from '../kube/queue.ts';
import type { Time } from '../kube/time.ts';
import type { Logger } from '../observe/log.ts';
import { createNews } from '../observe/news.ts';

/** What all kinds of objects that we keep in the cluster have in common. */
export interface KeeperNeeds {
  readonly membership: Membership;
  /** The rank of this replica as writer of an object: 0 writes at once. */
  readonly rankFor: (key: string) => number;
  readonly takeoverDelayMs: number;
  readonly time: Time;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/** The objects themselves. */
export interface Kept {
  /** What must be repaired, in words, according to our own watch; undefined for nothing. No I/O. */
  readonly difference: (key: string) => string | undefined;
  /**
   * Repairs the object from what is read live.
   * @returns why nothing was written, or undefined. May throw what the transport throws.
   */
  readonly repair: (key: string, difference: string, signal: AbortSignal) => Promise<string | undefined>;
  /** The log fields of an object. */
  readonly describe: (key: string) => object;
  /** How many are repaired at the same time. */
  readonly concurrency: number;
  /** Between two repairs of one object, in milliseconds; by default a second. */
  readonly restMs?: number;
}

export type Keeper = ReturnType<typeof createKeeper>;

/** An object that differs from its desired state. */
interface OpenDifference {
  /** Monotonic milliseconds. */
  readonly since: number;
  readonly isNews: (problem: string) => boolean;
  problem?: string;
}

/** Minimum time between two repairs of one object, in milliseconds: someone may keep changing it. */
const usualRestMs = 1_000;

/**
 * Keeps objects of the cluster in their desired state. Every replica watches all of them. One replica writes an object,
 * and the next in rank does so if the difference remains. An object that cannot be repaired does not delay others, and is
 * retried with growing intervals.
 */
export function createKeeper(needs: KeeperNeeds, kept: Kept) {
  const { log } = needs;
  const { restMs = usualRestMs } = kept;
  const { monotonic } = needs.time;
  const queue = createQueue({ time: needs.time });
  const open = new Map<string, OpenDifference>();
  const repairedAt = new Map<string, number>();
  needs.membership.onChange(() => {
    for (const key of open.keys()) queue.add(key);
  });

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const difference = kept.difference(key);
    const restLeftMs = (repairedAt.get(key) ?? Number.NEGATIVE_INFINITY) + restMs - monotonic();
    if (restLeftMs <= 0) repairedAt.delete(key);
    if (difference === undefined) {
      open.delete(key);
      queue.forget(key);
    }
    if (restLeftMs > 0) return queue.addAfter(key, restLeftMs);
    if (difference === undefined) return;
    const found = open.get(key) ?? { since: monotonic(), isNews: createNews(needs.time) };
    open.set(key, found);
    const turnAt = found.since + needs.rankFor(key) * needs.takeoverDelayMs;
    if (turnAt > monotonic()) return queue.addAfter(key, turnAt - monotonic());
    const problem = await kept.repair(key, difference, signal).catch(messageOf);
    if (problem !== undefined && found.isNews(problem))
      log.warn({ ...kept.describe(key), difference }, problem);
    if (problem === undefined) {
      delete found.problem;
      repairedAt.set(key, monotonic());
    } else {
      found.problem = problem;
    }
    // The watch normally shows the repair; this is for when it does not.
    queue.addRateLimited(key);
  }

  return {
    /** An object, or its source, may have changed. */
    look: (key: string) => queue.add(key),
    /** Why the last repair of an object failed, while it is not repaired. */
    problem: (key: string) => open.get(key)?.problem,
    /** Repairs until the signal is aborted. */
    run: (signal: AbortSignal) => queue.run(work, { concurrency: kept.concurrency }, signal),
  };
}
