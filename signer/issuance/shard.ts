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
