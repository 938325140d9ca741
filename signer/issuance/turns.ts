import { ranking } from '../kube/ranking.ts';
import type { AnsweredRequest } from './request.ts';
import { waitForTurnMs } from './shard.ts';

/**
 * Whose turn it is: what this replica has seen of the requests and of the other replicas. All times are
 * milliseconds of the monotonic clock, so that no replica has to trust another's clock or creationTimestamp.
 */
export interface Turns {
  /** Notes an open request. @returns whether it is seen for the first time. */
  sawOpen(uid: string): boolean;
  /**
   * Notes an answer and who gave it. Only a certificate shows that its replica can answer what it owns: a denial needs
   * no CA and no clock, and anybody who makes requests can have one.
   */
  sawAnswer(request: AnsweredRequest): void;
  /** Notes an open request that nobody waits for: it is pending no more, and whose turn it is stays as it was. */
  drop(uid: string): void;
  /** Notes a request that is gone. */
  forget(uid: string): void;
  /**
   * Notes that something changed that may let a request (or all of them) be answered: its owner has the first
   * chance anew, or all replicas would answer at once.
   */
  changed(uid?: string): void;
  /** This replica's rank for a request (0: the owner), and for how many milliseconds it has still to wait. */
  turnOf(uid: string): { readonly rank: number; readonly waitMs: number };
  /** Milliseconds since a request was first seen. */
  ageMs(uid: string): number;
  /** How many requests are open, and how long the oldest of them has been, in milliseconds. */
  pending(): { readonly count: number; readonly oldestMs: number };
}

interface Sighting {
  readonly first: number;
  changed: number;
  /** The order among these members: each request is asked about several times, and hashing is dear. */
  ranked: { readonly members: readonly string[]; readonly order: readonly string[] } | undefined;
}

export function createTurns(needs: {
  readonly self: string;
  readonly members: () => readonly string[];
  readonly takeoverDelayMs: number;
  readonly monotonic: () => number;
}): Turns {
  const { self, monotonic } = needs;
  // Insertion order is the order of first sight, so the first entry is the oldest.
  const open = new Map<string, Sighting>();
  const dropped = new Map<string, Sighting>();
  const lastFinished = new Map<string, number>();
  let allChanged = Number.NEGATIVE_INFINITY;

  const sightingOf = (uid: string) => open.get(uid) ?? dropped.get(uid);

  function orderOf(uid: string): readonly string[] {
    const members = needs.members();
    const sighting = sightingOf(uid);
    if (sighting?.ranked?.members === members) return sighting.ranked.order;
    const order = ranking(uid, members);
    if (sighting) sighting.ranked = { members, order };
    return order;
  }

  function forget(uid: string): void {
    open.delete(uid);
    dropped.delete(uid);
  }

  return {
    sawOpen(uid) {
      if (sightingOf(uid)) return false;
      open.set(uid, { first: monotonic(), changed: monotonic(), ranked: undefined });
      return true;
    },
    sawAnswer(request) {
      forget(request.uid);
      if (request.answered === 'Issued' && request.answeredBy !== undefined) {
        lastFinished.set(request.answeredBy, monotonic());
      }
    },
    drop(uid) {
      const sighting = open.get(uid);
      if (sighting) dropped.set(uid, sighting);
      open.delete(uid);
    },
    forget,
    changed(uid) {
      if (uid === undefined) {
        allChanged = monotonic();
        return;
      }
      const sighting = sightingOf(uid);
      if (sighting) sighting.changed = monotonic();
    },
    turnOf(uid) {
      const order = orderOf(uid);
      const owner = order[0];
      const rank = Math.max(0, order.indexOf(self));
      const waitMs = waitForTurnMs({
        rank,
        openSince: Math.max(sightingOf(uid)?.changed ?? monotonic(), allChanged),
        ownerLastSeen: owner === undefined ? undefined : lastFinished.get(owner),
        now: monotonic(),
        takeoverDelayMs: needs.takeoverDelayMs,
      });
      return { rank, waitMs };
    },
    ageMs: (uid) => monotonic() - (sightingOf(uid)?.first ?? monotonic()),
    pending() {
      const [oldest] = open.values();
      return { count: open.size, oldestMs: oldest ? monotonic() - oldest.first : 0 };
    },
  };
}
