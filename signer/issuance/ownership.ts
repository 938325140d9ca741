import { ranking } from '../kube/ranking.ts';
import type { Time } from '../kube/time.ts';
import type { RequestState } from './request-state.ts';

/** What a replica knows about a request when it asks whether it is its turn. Times: monotonic milliseconds. */
export interface Turn {
  /** 0 for the owner. */
  readonly rank: number;
  /** When this replica first saw the request, or last saw something change that lets it be answered. */
  readonly openSince: number;
  /** When the owner was last seen finishing any request. */
  readonly ownerLastSeen: number | undefined;
  readonly now: number;
  readonly takeoverDelayMs: number;
}

/**
 * How long this replica has still to wait before it may answer, in milliseconds; 0 means now. The owner answers at
 * once. Rank k takes over when the request has stayed open for k delays and the owner has finished nothing in
 * that time: an owner that is merely behind is left alone, so an overload does not become double signing.
 */
export function waitForTurnMs(turn: Turn): number {
  if (turn.rank === 0) return 0;
  const patience = turn.rank * turn.takeoverDelayMs;
  const since = Math.max(turn.openSince, turn.ownerLastSeen ?? Number.NEGATIVE_INFINITY);
  return Math.max(0, since + patience - turn.now);
}

/**
 * Which replica answers a request. All times are milliseconds of the monotonic clock, so that no replica has to trust
 * another's clock or creationTimestamp.
 */
export function createOwnership(needs: {
  readonly self: string;
  /** The same array until a replica comes or goes. */
  readonly members: () => readonly string[];
  readonly takeoverDelayMs: number;
  readonly time: Time;
}) {
  const { self, members } = needs;
  const { monotonic } = needs.time;
  // By replica, for members only.
  const lastFinished = new Map<string, number>();

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
     * needs no CA and no clock, and anybody who makes requests can have one.
     */
    sawIssued(replica: string): void {
      for (const gone of [...lastFinished.keys()].filter((name) => !members().includes(name))) {
        lastFinished.delete(gone);
      }
      lastFinished.set(replica, monotonic());
    },
    /** This replica's rank for a request (0: the owner), and for how many milliseconds it has still to wait. */
    turnOf(state: RequestState): { readonly rank: number; readonly waitMs: number } {
      const [owner = self] = orderOf(state);
      const rank = Math.max(0, orderOf(state).indexOf(self));
      const waitMs = waitForTurnMs({
        rank,
        openSince: state.changedAt,
        ownerLastSeen: lastFinished.get(owner),
        now: monotonic(),
        takeoverDelayMs: needs.takeoverDelayMs,
      });
      return { rank, waitMs };
    },
  };
}

export type Ownership = ReturnType<typeof createOwnership>;
