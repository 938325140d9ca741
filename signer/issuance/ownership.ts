import { ranking } from '../kube/ranking.ts';
import type { Time } from '../kube/time.ts';
import type { RequestState } from './request-state.ts';

/**
 * Which replica answers a request. The owner answers at once. Rank k takes over when the request has stayed open for k
 * delays and the owner has issued nothing in that time: an owner that is merely behind is left alone, so an overload
 * does not become double signing.
 *
 * All times are milliseconds of the monotonic clock, so that no replica has to trust another's clock or creationTimestamp.
 */
export function createOwnership(needs: {
  readonly self: string;
  /** The same array until a replica comes or goes. */
  readonly members: () => readonly string[];
  readonly takeoverDelayMs: number;
  readonly time: Time;
}) {
  const { self, members, takeoverDelayMs } = needs;
  const { monotonic } = needs.time;
  // By replica, for members only.
  const lastIssuedAt = new Map<string, number>();

  /** Each request is asked about several times, and hashing is expensive. */
  function orderOf(state: RequestState): readonly string[] {
    if (state.ranked?.members !== members()) {
      state.ranked = { members: members(), order: ranking(state.request.uid, members()) };
    }
    return state.ranked.order;
  }

  return {
    /**
     * Notes that a replica issued a certificate. A denial would not show that its replica can answer what it owns: it
     * needs no CA and no clock, and any client that creates requests can cause one.
     */
    sawIssued(replica: string): void {
      for (const gone of [...lastIssuedAt.keys()].filter((name) => !members().includes(name))) {
        lastIssuedAt.delete(gone);
      }
      lastIssuedAt.set(replica, monotonic());
    },
    /** This replica's rank for a request (0: the owner), and for how many milliseconds it has still to wait. */
    turnOf(state: RequestState): { readonly rank: number; readonly waitMs: number } {
      const order = orderOf(state);
      const rank = order.indexOf(self);
      if (rank <= 0) return { rank: 0, waitMs: 0 };
      const [owner = self] = order;
      const since = Math.max(state.changedAt, lastIssuedAt.get(owner) ?? Number.NEGATIVE_INFINITY);
      return { rank, waitMs: Math.max(0, since + rank * takeoverDelayMs - monotonic()) };
    },
  };
}

export type Ownership = ReturnType<typeof createOwnership>;
