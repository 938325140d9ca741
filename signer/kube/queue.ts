import { type BackoffPolicy, backoffMs } from './backoff.ts';
import { createFairLane, type Flow } from './fair-lane.ts';
import type { Time } from './time.ts';

export type Priority = 'high' | 'low';

export interface QueueNeeds {
  time: Time;
  backoff?: BackoffPolicy;
  /** The namespace and node of a key, asked whenever it is queued. Left out: first come, first served, and no shares. */
  flowOf?: (key: string) => Flow;
}

/** After this many keys of high priority, a waiting one of low priority has its turn. */
const highInTurn = 7;

/** A namespace gets another worker while it has at most this many times the free ones: 49 of 64 at most. */
const shareOfFree = 3;

/** A namespace counts as alone when no other had a key for so long, in milliseconds. */
const aloneAfterMs = 60_000;

interface Share {
  readonly namespace: string;
  workers: number;
}

/** How long workers may go on after the end, in milliseconds. */
const drainMs = 4_000;

const oneFlow: Flow = { namespace: '', node: '' };

const defaultBackoff: BackoffPolicy = { baseMs: 250, maxMs: 30_000 };

/**
 * A de-duplicating, rate-limited queue of keys with two priorities, after client-go's work queue: a waiting key
 * is held once; a key in work is not given to a second worker, but is queued again afterwards if it was added
 * meanwhile. It holds keys, never objects: a worker reads the store again.
 *
 * With `flowOf` it is fair: namespaces take turns, and the nodes within one. No namespace gets all workers, so the
 * others go on when every call for one of them hangs. One key in eight comes from the low priority if any waits.
 */
export function createQueue(needs: QueueNeeds) {
  const { monotonic, jitter, timer } = needs.time;
  const policy = needs.backoff ?? defaultBackoff;
  const flowOf = needs.flowOf ?? (() => oneFlow);
  const ready = { high: createFairLane(), low: createFairLane() };
  // The keys in work, with the namespace whose share they count for.
  const working = new Map<string, Share>();
  const shares = new Map<string, Share>();
  const addedWhileWorking = new Map<string, Priority>();
  const delayed = new Map<string, { dueAt: number; priority: Priority; cancel: () => void }>();
  const failures = new Map<string, number>();
  let wake: () => void = () => undefined;
  let hasEnded = false;
  let highTaken = 0;
  let free = 0;
  let concurrencyOfNamespace: (isAlone: boolean) => number = () => Number.POSITIVE_INFINITY;
  let latestNamespace: string | undefined;
  let sharedAt = Number.NEGATIVE_INFINITY;

  /** Queues a key now. A waiting key moves up when it is added with the higher priority. */
  function add(key: string, priority: Priority = 'high'): void {
    if (working.has(key)) {
      if (addedWhileWorking.get(key) !== 'high') addedWhileWorking.set(key, priority);
      return;
    }
    if (ready.high.has(key)) return;
    if (priority === 'high') ready.low.delete(key);
    const flow = flowOf(key);
    if (latestNamespace !== undefined && flow.namespace !== latestNamespace) sharedAt = monotonic();
    latestNamespace = flow.namespace;
    ready[priority].add(key, flow);
    wake();
  }

  /**
   * Queues a key after a delay in milliseconds; of several delays of a key the earliest counts. It is dropped when a worker
   * gets the key earlier, because the worker then decides what comes next.
   */
  function addAfter(key: string, delayMs: number, priority: Priority = 'high'): void {
    if (!(delayMs > 0)) {
      add(key, priority);
      return;
    }
    // No worker would take it, and its timer would keep the process alive.
    if (hasEnded) return;
    const dueAt = monotonic() + delayMs;
    const earlier = delayed.get(key);
    if (earlier) {
      if (priority === 'high') earlier.priority = 'high';
      if (earlier.dueAt <= dueAt) return;
      earlier.cancel();
    }
    const entry = {
      dueAt,
      priority: earlier?.priority ?? priority,
      cancel: timer(() => {
        delayed.delete(key);
        add(key, entry.priority);
      }, delayMs),
    };
    delayed.set(key, entry);
  }

  function cancelDelayed(key: string): void {
    delayed.get(key)?.cancel();
    delayed.delete(key);
  }

  /**
   * Queues a key after its own exponential back-off, low priority. `retryAfterMs`: the wait that the
   * server asked for. It can lengthen the back-off and never shortens it.
   */
  function addRateLimited(key: string, retryAfterMs?: number): void {
    const failed = failures.get(key) ?? 0;
    failures.set(key, failed + 1);
    addAfter(key, backoffMs(policy, failed, jitter, retryAfterMs), 'low');
  }

  function mayTake(namespace: string): boolean {
    if (needs.flowOf === undefined) return true;
    const { workers } = shares.get(namespace) ?? { workers: 0 };
    const isAlone = monotonic() - sharedAt >= aloneAfterMs;
    return workers <= shareOfFree * free && workers < concurrencyOfNamespace(isAlone);
  }

  /** Takes the next key and marks it as in work. */
  function take(): string | undefined {
    const isTurnOfLow = highTaken >= highInTurn;
    const taken = isTurnOfLow
      ? (ready.low.take(mayTake) ?? ready.high.take(mayTake))
      : (ready.high.take(mayTake) ?? ready.low.take(mayTake));
    if (taken === undefined) return undefined;
    highTaken = isTurnOfLow ? 0 : highTaken + 1;
    const { key, namespace } = taken;
    cancelDelayed(key);
    const share = shares.get(namespace) ?? { namespace, workers: 0 };
    if (share.workers === 0) shares.set(namespace, share);
    share.workers += 1;
    working.set(key, share);
    free -= 1;
    return key;
  }

  function finished(key: string): void {
    const share = working.get(key);
    working.delete(key);
    free += 1;
    if (share) share.workers -= 1;
    if (share?.workers === 0) shares.delete(share.namespace);
    const priority = addedWhileWorking.get(key);
    if (priority === undefined) return;
    addedWhileWorking.delete(key);
    add(key, priority);
  }

  return {
    add,
    addAfter,
    addRateLimited,
    /** The next back-off of a key is the shortest again. */
    endBackoff: (key: string): void => void failures.delete(key),
    /** For a key that is gone: ends its back-off and its delayed add. An add without delay stays. */
    forget(key: string): void {
      failures.delete(key);
      cancelDelayed(key);
    },
    /**
     * Works until the signal is aborted, then starts nothing new and resolves when the running workers have finished.
     * Their own signal is aborted `drainMs` after that. A worker that throws has its key queued again
     * with back-off, and `onError` is called.
     */
    async run(
      worker: (key: string, signal: AbortSignal) => Promise<void>,
      options: {
        concurrency: number;
        /** How many workers one namespace may have now, beside others or alone. Left out: as many as its share. */
        concurrencyOfNamespace?: (isAlone: boolean) => number;
        onError?: (error: unknown, key: string) => void;
      },
      signal: AbortSignal,
    ): Promise<void> {
      const drained = new AbortController();
      const idle = Promise.withResolvers<void>();
      free = options.concurrency;
      concurrencyOfNamespace = options.concurrencyOfNamespace ?? concurrencyOfNamespace;

      async function work(key: string): Promise<void> {
        try {
          await worker(key, drained.signal);
        } catch (error) {
          options.onError?.(error, key);
          addRateLimited(key);
        }
        finished(key);
        fill();
      }

      function fill(): void {
        while (!hasEnded && free > 0) {
          const key = take();
          if (key === undefined) break;
          void work(key);
        }
        if (hasEnded && working.size === 0) idle.resolve();
      }

      let giveUp: () => void = () => undefined;
      const stop = () => {
        hasEnded = true;
        for (const entry of delayed.values()) entry.cancel();
        delayed.clear();
        giveUp = timer(() => drained.abort(), drainMs);
        fill();
      };
      // Not at once: what is added in the same turn is sorted by priority first, and the adder is not re-entered.
      let isWoken = false;
      wake = () => {
        if (isWoken) return;
        isWoken = true;
        queueMicrotask(() => {
          isWoken = false;
          fill();
        });
      };
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
      fill();
      await idle.promise;
      wake = () => undefined;
      giveUp();
    },
    /** Keys that wait for a worker, delayed ones not counted. */
    depth: () => ready.high.size() + ready.low.size(),
  };
}

export type Queue = ReturnType<typeof createQueue>;
