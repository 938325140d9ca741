import type { Time } from './time.ts';

/**
 * With so many a replica begins, because it often begins with a backlog, and a namespace alone goes on: with fewer, the
 * replica is woken for each answer, which costs a fifth more CPU.
 */
const first = 24;
/** Writes between two adjustments of the limit. */
const writesPerLook = 16;
/** Writes that may wait inside the server: fewer would leave it idle, and more would only hold up others. */
const fewestQueued = 3;
const mostQueued = 6;
/** How long the shortest duration of a write counts, in milliseconds: the connection may change to another server. */
const shortestCountsMs = 60_000;

/**
 * Limits how many writes are sent at the same time, by how long they take.
 *
 * Once the server is busy, more concurrent writes are no faster. Each only waits longer inside the server, and so do
 * writes for other namespaces. With L writes under way, each of which takes the time t, and the shortest time t0,
 * L × (1 - t0 / t) of them are waiting (Little's law). The limit moves by one to keep that number between 3 and 6, as TCP
 * Vegas does: some 8 for an API server that answers in 3 ms, and 25 for one that is 20 ms away.
 */
export function createWriteLimit(needs: { readonly most: number; readonly time: Time }) {
  const { most } = needs;
  const { monotonic } = needs.time;
  let limit = Math.min(first, most);
  let times: number[] = [];
  /** The shortest durations of this period and of the previous one. */
  let shortest = Number.POSITIVE_INFINITY;
  let shortestBefore = Number.POSITIVE_INFINITY;
  let periodSince = monotonic();

  function look(): void {
    const median = times.sort((one, other) => one - other)[times.length / 2] ?? 0;
    times = [];
    const queued = limit * (1 - Math.min(shortest, shortestBefore) / median);
    if (queued < fewestQueued) limit = Math.min(limit + 1, most);
    else if (queued > mostQueued) limit -= 1;
  }

  return {
    /** Adds the duration of an accepted write, in milliseconds. */
    observe(tookMs: number): void {
      if (monotonic() - periodSince > shortestCountsMs) {
        shortestBefore = shortest;
        shortest = Number.POSITIVE_INFINITY;
        periodSince = monotonic();
      }
      shortest = Math.min(shortest, tookMs);
      times.push(tookMs);
      if (times.length === writesPerLook) look();
    },
    /** How many writes of one namespace may be under way now. @param isAlone whether no other namespace has any. */
    current: (isAlone: boolean): number => (isAlone ? Math.max(limit, Math.min(first, most)) : limit),
  };
}

export type WriteLimit = ReturnType<typeof createWriteLimit>;
