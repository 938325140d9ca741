import type { ConnectionLimits } from './limits.ts';

/**
 * Gives connections their turn for the TLS handshake. Until a handshake is over OpenSSL keeps everything that the peer sends as
 * its certificate, up to 100 KB, which it unpacks to 3.4 MiB. So few are under way at once, and the others wait unread.
 * Addresses take turns: one with many connections, or slow ones, delays its own.
 *
 * @param limits how many are under way at once.
 * @returns a function that calls `start` at the turn of a connection, and returns what ends its turn or its waiting.
 */
export function createHandshakeTurns(
  limits: ConnectionLimits,
): (address: string, start: () => void) => () => void {
  const waiting = new Map<string, Set<() => void>>();
  const underWay = new Map<string, number>();
  let total = 0;

  function change(address: string, by: 1 | -1): void {
    total += by;
    const left = (underWay.get(address) ?? 0) + by;
    if (left > 0) underWay.set(address, left);
    else underWay.delete(address);
  }

  function stopWaiting(address: string, start: () => void): boolean {
    const ofAddress = waiting.get(address);
    const waited = ofAddress?.delete(start) ?? false;
    if (ofAddress?.size === 0) waiting.delete(address);
    return waited;
  }

  /** The first that waits of the address whose turn it is. */
  function next(): { address: string; start: () => void } | undefined {
    if (total >= limits.total) return undefined;
    for (const [address, starts] of waiting) {
      const [start] = starts;
      if (start && (underWay.get(address) ?? 0) < limits.perAddress) return { address, start };
    }
    return undefined;
  }

  function startThoseWhoseTurnItIs(): void {
    for (let turn = next(); turn; turn = next()) {
      const { address, start } = turn;
      stopWaiting(address, start);
      const others = waiting.get(address);
      if (others) {
        // To the end of the line.
        waiting.delete(address);
        waiting.set(address, others);
      }
      change(address, 1);
      start();
    }
  }

  return (address, start) => {
    const ofAddress = waiting.get(address) ?? new Set();
    // A function of its own, so that the same `start` may wait twice.
    const begin = () => start();
    ofAddress.add(begin);
    waiting.set(address, ofAddress);
    startThoseWhoseTurnItIs();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      if (!stopWaiting(address, begin)) change(address, -1);
      startThoseWhoseTurnItIs();
    };
  };
}
