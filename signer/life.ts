import { once } from 'node:events';
import { messageOf } from '../spiffe/errors.ts';
import { pauseWith, type Time } from './kube/time.ts';
import type { Logger } from './observe/log.ts';
import type { Part } from './signers/profile.ts';

/** After SIGTERM, what is in flight has this long to be confirmed, … */
const drainMs = 4_000;
/** … and the parts this long to end: 5 s in all. */
const partingMs = 1_000;

/** A replica whose parts are made and joined. */
export interface Replica {
  /** What all else stands on; ends last. */
  readonly parts: readonly Part[];
  /** Resolves when the replica knows what it has to know before it answers. */
  readonly knowing: Promise<unknown>;
  /** Answer requests, one for each signer. */
  readonly controllers: readonly Part[];
  /** Announces this replica to the others for as long as it answers. */
  readonly membership: Part;
  /** Serve callers; each ends by itself only with an error. */
  readonly listeners: readonly Part[];
  readonly onDraining: () => void;
  readonly log: Pick<Logger, 'info' | 'error'>;
  readonly time: Time;
}

/**
 * The life of a replica: it runs until `stopping` or until a part fails, finishes what is in flight, and ends.
 *
 * @param ended ends the parts when it is aborted, which is done here at last.
 * @throws what a part failed with.
 */
export async function live(replica: Replica, stopping: AbortSignal, ended: AbortController): Promise<void> {
  const { log, time } = replica;
  const failed = new AbortController();
  const leaving = AbortSignal.any([stopping, failed.signal]);
  const stopped = once(leaving, 'abort');
  const parts = replica.parts.map((part) => part.run(ended.signal));
  const answering = Promise.race([replica.knowing, stopped]).then(() =>
    Promise.all(replica.controllers.map((controller) => controller.run(leaving))),
  );
  const leases = replica.membership.run(leaving);
  const serving = replica.listeners.map((listener) => listener.run(leaving));

  try {
    await Promise.race([stopped, ...parts, ...serving, answering, leases]);
  } catch (error) {
    // Said before the rest ends, which may not go well either.
    log.error({ error: messageOf(error) }, 'a part of the signer failed');
    throw error;
  } finally {
    // Leave first, so that the other replicas answer from now on. Then finish what is in flight, and stop.
    failed.abort('a part of the signer failed');
    log.info({ reason: String(leaving.reason) }, 'signer drains');
    replica.onDraining();
    await within(time, drainMs, Promise.allSettled([leases, answering, ...serving]));
    ended.abort();
    await within(time, partingMs, Promise.allSettled(parts));
  }
}

/** Waits for something, but no longer than so many milliseconds. */
async function within({ timer }: Time, ms: number, promise: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([promise, pauseWith(timer)(ms, over.signal)]).finally(() => over.abort());
}
