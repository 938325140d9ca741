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
  /** What is to be repaired of an object by what our own watch shows, in words; undefined for nothing. No I/O. */
  readonly drift: (key: string) => string | undefined;
  /**
   * Makes it right, by what is read live.
   * @returns why nothing was written, or undefined. May throw what the transport throws.
   */
  readonly repair: (key: string, drift: string, signal: AbortSignal) => Promise<string | undefined>;
  /** How an object is named in the log. */
  readonly describe: (key: string) => object;
  /** How many are repaired at the same time. */
  readonly concurrency: number;
}

export interface Keeper {
  /** Says that an object, or what it is made from, may have changed. */
  look(key: string): void;
  /** Why the last repair of an object failed that has still to be repaired. */
  fault(key: string): string | undefined;
  /** Repairs until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

interface Trouble {
  /** Monotonic milliseconds. */
  readonly since: number;
  readonly isNews: (fault: string) => boolean;
  fault?: string;
}

/** Between two repairs of one object, in milliseconds: somebody who changes it again and again costs us no more. */
const restMs = 1_000;

/**
 * Keeps objects of the cluster as they should be. Every replica watches them all; for each, one writes, and the next
 * one steps in when the drift stays. An object that cannot be repaired holds up no other one, and is tried again ever
 * more slowly.
 */
export function createKeeper(needs: KeeperNeeds, kept: Kept): Keeper {
  const { log } = needs;
  const { monotonic } = needs.time;
  const queue = createQueue({
    time: needs.time,
  });
  const troubles = new Map<string, Trouble>();
  const repairedAt = new Map<string, number>();
  needs.membership.onChange(() => {
    for (const key of troubles.keys()) queue.add(key);
  });

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const drift = kept.drift(key);
    const restLeftMs = (repairedAt.get(key) ?? Number.NEGATIVE_INFINITY) + restMs - monotonic();
    if (restLeftMs <= 0) repairedAt.delete(key);
    if (drift === undefined) {
      troubles.delete(key);
      queue.forget(key);
    }
    if (restLeftMs > 0) return queue.addAfter(key, restLeftMs);
    if (drift === undefined) return;
    const trouble = troubles.get(key) ?? { since: monotonic(), isNews: createNews(monotonic) };
    troubles.set(key, trouble);
    const turnAt = trouble.since + needs.rankFor(key) * needs.takeoverDelayMs;
    if (turnAt > monotonic()) return queue.addAfter(key, turnAt - monotonic());
    const fault = await kept.repair(key, drift, signal).catch(messageOf);
    if (fault !== undefined && trouble.isNews(fault)) log.warn({ ...kept.describe(key), drift }, fault);
    if (fault === undefined) {
      delete trouble.fault;
      repairedAt.set(key, monotonic());
    } else {
      trouble.fault = fault;
    }
    // The watch brings the good news; this is for the case that it does not.
    queue.addRateLimited(key);
  }

  return {
    look: (key) => queue.add(key),
    fault: (key) => troubles.get(key)?.fault,
    run: (signal) => queue.run(work, { concurrency: kept.concurrency }, signal),
  };
}
