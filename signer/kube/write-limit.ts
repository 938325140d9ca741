import type { Time } from './time.ts';
/** How many writes are sent at the same time, found out from how long they take. */
export interface WriteLimit {
  /** Takes in how long a write took that the server has accepted, in milliseconds. */
  observe(tookMs: number): void;
  /** How many writes of one namespace may be under way now. */
  current(): number;
}

/** A new replica often begins with a backlog. */
const first = 24;
/** After so many writes the limit is looked at again. */
const writesPerLook = 16;
/** Writes that may wait inside the server: fewer would leave it idle, and more would only hold up others. */
const fewestQueued = 4;
const mostQueued = 8;
/** For so long the shortest time of a write counts, in milliseconds: the server may be another one by then. */
const shortestCountsMs = 60_000;

/**
 * Beyond what keeps the server busy, more writes at once are no faster: each only waits longer inside the server, and so
 * does the write for another namespace. With L writes under way, each of which takes the time t, and the shortest time t0,
 * L × (1 - t0 / t) of them are waiting (Little's law). The limit moves by one to keep that number between 4 and 8, as TCP
 * Vegas does: some 10 for an API server that answers in 3 ms, and 26 for one that is 20 ms away.
 */
export function createWriteLimit(needs: { readonly most: number; readonly time: Time }): WriteLimit {
  const { most } = needs;
  const { monotonic } = needs.time;
  let limit = Math.min(first, most);
  let times: number[] = [];
  /** The shortest times of this period and of the one before. */
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
    observe(tookMs) {
      if (monotonic() - periodSince > shortestCountsMs) {
        shortestBefore = shortest;
        shortest = Number.POSITIVE_INFINITY;
        periodSince = monotonic();
      }
      shortest = Math.min(shortest, tookMs);
      times.push(tookMs);
      if (times.length === writesPerLook) look();
    },
    current: () => limit,
  };
}
