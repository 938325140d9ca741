import type { Time } from './time.ts';

/** A replica counts as dead when no renewal of its Lease was seen for this long, in milliseconds. */
const deadAfterMs = 10_000;

/** What we keep of a Lease. */
export interface LeaseFacts {
  readonly holder: string;
  /** RFC 3339. Compared with itself only, to see a renewal. */
  readonly renewTime: string;
}

interface Sighting {
  renewTime: string;
  renewedAt: number;
  isAlive: boolean;
  cancel: () => void;
}

/** The other replicas. Renewals of their Leases are timed by our own monotonic clock. */
export function createReplicas(needs: { self: string; time: Time }) {
  const { self } = needs;
  const { monotonic } = needs.time;
  const others = new Map<string, Sighting>();
  const listeners: (() => void)[] = [];
  let members: readonly string[] = [self];

  function update(): void {
    const alive = [...others].filter(([, { isAlive }]) => isAlive).map(([holder]) => holder);
    members = [self, ...alive].sort();
    for (const listener of listeners) listener();
  }

  function expectRenewal(holder: string, sighting: Sighting, ms: number): void {
    sighting.cancel = needs.time.timer(() => {
      const leftMs = sighting.renewedAt + deadAfterMs - monotonic();
      if (leftMs > 0) {
        expectRenewal(holder, sighting, leftMs);
        return;
      }
      sighting.isAlive = false;
      update();
    }, ms);
  }

  return {
    /** Adds or updates a Lease. A new one counts as renewed now, because its replica may have just started. */
    saw({ holder, renewTime }: LeaseFacts): void {
      const known = others.get(holder);
      if (holder === self || known?.renewTime === renewTime) return;
      const sighting = known ?? { renewTime, renewedAt: 0, isAlive: false, cancel: () => undefined };
      sighting.renewTime = renewTime;
      sighting.renewedAt = monotonic();
      others.set(holder, sighting);
      if (sighting.isAlive) return;
      sighting.isAlive = true;
      expectRenewal(holder, sighting, deadAfterMs);
      update();
    },
    /** A Lease was deleted: its replica is leaving. */
    left(holder: string): void {
      const known = others.get(holder);
      known?.cancel();
      others.delete(holder);
      if (known?.isAlive) update();
    },
    /** The live replicas and self, sorted. The same array until something changes. */
    members: () => members,
    onChange: (listener: () => void) => void listeners.push(listener),
    /** Ends the timers. */
    stop(): void {
      for (const { cancel } of others.values()) cancel();
    },
  };
}
