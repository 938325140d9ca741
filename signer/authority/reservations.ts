import type { Seconds } from '../../spiffe/pki/time.ts';
import type { Time } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';
import type { PoolPlace } from './pool-secret.ts';
import { raisedUntil, type SigningIdentity, signedUntilKey, signedUntilStepSeconds } from './signed-until.ts';
import { changeSignedUntilRecord, type SignedUntilRecord } from './signed-until-record.ts';
import type { AuthorityKind } from './states.ts';

/** What a replica knows of the record of its pool, and raises before it signs. */
export interface Reservations {
  /**
   * To be awaited before something is signed that ends at `until`. In the steady state it returns at once, without a call:
   * the record is a step ahead, and raised again in the background once half of the step is used.
   *
   * @returns undefined where the record covers it.
   * @throws ApiStatusError, ApiConnectionError from the promise: nothing may be signed.
   */
  reserve(authority: SigningIdentity, until: Seconds): Promise<void> | undefined;
}

/** The next raise in the background after one that failed. */
const retryMs = 2_000;

export function createReservations(needs: {
  readonly transport: Transport;
  readonly pool: PoolPlace;
  readonly time: Time;
}): Reservations {
  const { transport, pool, time } = needs;
  let record: SignedUntilRecord | undefined;
  /** T of each authority as the API server has confirmed it. It only grows, even if the record is put back. */
  const confirmed = new Map<string, Seconds>();
  /** What is to be signed and not covered yet. */
  const wanted = new Map<string, { readonly kind: AuthorityKind; readonly until: Seconds }>();
  let raising: Promise<void> | undefined;
  let failedAt = Number.NEGATIVE_INFINITY;

  async function raise(): Promise<void> {
    const now = Math.floor(time.now() / 1000);
    const asked = new Map(wanted);
    wanted.clear();
    try {
      record = await changeSignedUntilRecord(
        transport,
        pool,
        (signedUntil) => {
          const entries = [...asked].flatMap(([key, { kind, until }]) => {
            const known = signedUntil.get(key);
            if (known !== undefined && known >= until + signedUntilStepSeconds / 2) return [];
            const mine = confirmed.get(key) ?? Number.NEGATIVE_INFINITY;
            return [[key, Math.max(mine, raisedUntil(known, { kind, until, now }))] as const];
          });
          return new Map(entries);
        },
        record,
      );
    } catch (error) {
      // Nobody knows whether it was written: the record is read again.
      record = undefined;
      failedAt = time.monotonic();
      throw error;
    }
    for (const [key, until] of record.signedUntil) {
      confirmed.set(key, Math.max(until, confirmed.get(key) ?? until));
    }
  }

  /** One write at a time; what is wanted meanwhile goes into the next one. */
  function raised(key: string, kind: AuthorityKind, until: Seconds): Promise<void> {
    const before = wanted.get(key)?.until ?? until;
    wanted.set(key, { kind, until: Math.max(before, until) });
    raising ??= raise().finally(() => {
      raising = undefined;
    });
    return raising;
  }

  async function covered(key: string, kind: AuthorityKind, until: Seconds): Promise<void> {
    while (!isCovered(key, until)) await raised(key, kind, until);
  }

  function isCovered(key: string, until: Seconds): boolean {
    return (confirmed.get(key) ?? Number.NEGATIVE_INFINITY) >= until;
  }

  return {
    reserve(authority, until) {
      const key = signedUntilKey(authority);
      if (!isCovered(key, until)) return covered(key, authority.kind, until);
      const isAhead = isCovered(key, until + signedUntilStepSeconds / 2);
      if (isAhead || raising || time.monotonic() - failedAt < retryMs) return undefined;
      void raised(key, authority.kind, until).catch(() => undefined);
      return undefined;
    },
  };
}

/** Where there is no cluster that keeps a record, as in `kubespiffe dev`. */
export const reserveNothing: Reservations['reserve'] = () => undefined;
