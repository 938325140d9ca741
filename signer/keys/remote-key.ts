import { hash, type KeyObject, verify } from 'node:crypto';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { KeyType } from '../../spiffe/pki/algorithms.ts';
import type { Time } from '../kube/time.ts';
import type { KeyRef } from './key-ref.ts';
import type { Opener, OpenKey } from './open-key.ts';

/** What is signed to learn whether a key can be used. It is no certificate and no token. */
const probe = Buffer.from('kubespiffe looks whether this key signs');
/** A key that signed nothing for this time is probed. */
const probeAfterMs = 30_000;
/** A key that was not used for this time is closed until it is used again. */
const closeAfterMs = 300_000;
const beingOpened = 'the key is being opened';
const retryMs = { first: 1_000, most: 30_000 } as const;

/**
 * The life of a key: `closed` → `opening` → `ready` or `lost`; `lost` → `opening` after a while; any → `closed` when it is
 * not asked for any more.
 */
type State =
  | { readonly kind: 'closed' }
  | { readonly kind: 'opening'; readonly was: string | undefined; readonly giveUp: AbortController }
  | { readonly kind: 'ready'; readonly open: OpenKey }
  | { readonly kind: 'lost'; readonly reason: string; readonly retryAt: number };

export interface RemoteKeyNeeds {
  readonly open: Opener;
  /** How many signatures of a key are under way at once; so many more times 32 may wait. */
  readonly concurrency: number;
  /** A signature, or opening a key, that takes longer has failed. */
  readonly timeoutMs: number;
  readonly onSigned: (ref: KeyRef, outcome: 'ok' | 'failed', seconds: number) => void;
  readonly onState: (ref: KeyRef, problem: string | undefined) => void;
  readonly time: Time;
}

/** How many may wait for each that is under way. At 20 ms a signature the last one waits 0.7 s. */
const waitingPerSlot = 32;

/** A private key that another program, machine or cloud keeps. */
export type RemoteKey = ReturnType<typeof createRemoteKey>;

/**
 * A key that is used through a backend. It is opened when it is first asked for, and again after a failure. Each signature
 * is verified before it is used: a key that does not belong to its certificate, or a backend that answers with
 * anything else, counts as lost.
 *
 * @param publicKey of the certificate, or of the JWT key.
 */
export function createRemoteKey(
  ref: KeyRef,
  publicKey: KeyObject,
  { signature: algorithm }: Pick<KeyType, 'signature'>,
  needs: RemoteKeyNeeds,
) {
  const { monotonic } = needs.time;
  const lane = createLane(needs.concurrency, needs.concurrency * waitingPerSlot);
  // keyOfRecord lets no others in.
  const digest = algorithm.digest ?? 'sha512';
  let state: State = { kind: 'closed' };
  let askedAt = Number.NEGATIVE_INFINITY;
  let workedAt = Number.NEGATIVE_INFINITY;
  let backoffMs: number = retryMs.first;
  let isTended = false;

  const problem = (): string | undefined => {
    askedAt = monotonic();
    if (state.kind === 'ready') return undefined;
    if (state.kind === 'lost') return state.reason;
    return (state.kind === 'opening' ? state.was : undefined) ?? beingOpened;
  };

  const lose = (reason: string) => {
    if (state.kind === 'closed') return;
    if (state.kind === 'ready') state.open.close();
    state = { kind: 'lost', reason, retryAt: monotonic() + backoffMs };
    backoffMs = Math.min(backoffMs * 2, retryMs.most);
    needs.onState(ref, reason);
  };

  async function signWith(open: OpenKey, content: Uint8Array): Promise<Uint8Array> {
    const startedAt = monotonic();
    let outcome: 'ok' | 'failed' = 'failed';
    try {
      const signing = open.sign(hash(digest, content, 'buffer'), algorithm);
      const signature = await within(signing, needs, 'the key did not sign');
      if (!verify(digest, content, publicKey, signature)) {
        throw new Error('the signature is not one of the key that the pool says: keyRef names another key');
      }
      workedAt = monotonic();
      outcome = 'ok';
      return signature;
    } finally {
      needs.onSigned(ref, outcome, (monotonic() - startedAt) / 1000);
    }
  }

  async function open(was: string | undefined): Promise<void> {
    const giveUp = new AbortController();
    const { signal } = giveUp;
    state = { kind: 'opening', was, giveUp };
    try {
      const opening = needs.open(ref, signal);
      // Closes it at once if it is open already, and else as soon as it is.
      signal.addEventListener('abort', () => opening.then((late) => late.close()).catch(() => undefined));
      const opened = await within(opening, needs, 'the key could not be opened');
      signal.throwIfAborted();
      await signWith(opened, probe);
      signal.throwIfAborted();
      backoffMs = retryMs.first;
      state = { kind: 'ready', open: opened };
      needs.onState(ref, undefined);
    } catch (error) {
      giveUp.abort();
      lose(messageOf(error));
    }
  }

  /** A token has no more sessions than the lane has slots. Where too many wait, they show whether the key works. */
  async function probeInLane(): Promise<void> {
    const release = await lane.enter();
    if (!release) return;
    try {
      if (state.kind !== 'ready') return;
      const { open } = state;
      await signWith(open, probe).catch((error) => {
        if (state.kind === 'ready' && state.open === open) lose(messageOf(error));
      });
    } finally {
      release();
    }
  }

  return {
    algorithmDer: algorithm.encodings[0],
    problem,
    async sign(content: Uint8Array): Promise<Uint8Array> {
      const release = await lane.enter();
      if (!release) throw unavailable(`${lane.most} signatures wait for it already`);
      try {
        const reason = problem();
        if (state.kind !== 'ready') throw unavailable(state.kind === 'lost' ? inLog : beingOpened, reason);
        const { open } = state;
        try {
          return await signWith(open, content);
        } catch (error) {
          if (state.kind === 'ready' && state.open === open) lose(messageOf(error));
          throw unavailable(inLog, error);
        }
      } finally {
        release();
      }
    },
    /** Opens, probes or closes it if that is due. To be called about every second. Never rejects. */
    async tend(): Promise<void> {
      const now = monotonic();
      if (isTended) return;
      isTended = true;
      try {
        if (now - askedAt >= closeAfterMs) return close();
        if (state.kind === 'closed') await open(undefined);
        else if (state.kind === 'lost' && now >= state.retryAt) await open(state.reason);
        else if (state.kind === 'ready' && now - workedAt >= probeAfterMs) await probeInLane();
      } finally {
        isTended = false;
      }
    },
    close,
  };

  function close(): void {
    if (state.kind === 'ready') state.open.close();
    if (state.kind === 'opening') state.giveUp.abort();
    state = { kind: 'closed' };
  }
}

/** For `catch` of what signs: returns the error where the key could not be used for now. @throws every other one. */
export function unlessKeyUnavailable(error: unknown): KubespiffeError {
  if (error instanceof KubespiffeError && error.code === 'KEY_UNAVAILABLE') return error;
  throw error;
}

/** `onState` gets the reason too. Callers do not: what a token or a cloud says may name accounts and roles. */
const inLog = 'the log of the signer has the reason';

function unavailable(reason: string, cause?: unknown): KubespiffeError {
  return new KubespiffeError('KEY_UNAVAILABLE', reason, { cause });
}

/** @throws where the promise takes longer. A later result is dropped. */
async function within<T>(
  promise: Promise<T>,
  { timeoutMs, time }: Pick<RemoteKeyNeeds, 'timeoutMs' | 'time'>,
  what: string,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const cancel = time.timer(() => reject(new Error(`${what} within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
    promise.catch(() => undefined);
  }
}

/** Runs a limited number at once, in the order of the calls. Calls beyond `waiting` are refused. */
function createLane(slots: number, waiting: number) {
  const queue: (() => void)[] = [];
  let inside = 0;
  const release = () => {
    const next = queue.shift();
    if (next) next();
    else inside -= 1;
  };
  return {
    most: waiting,
    /** @returns what to call at the end; undefined where too many wait. */
    async enter(): Promise<(() => void) | undefined> {
      if (inside < slots) {
        inside += 1;
        return release;
      }
      if (queue.length >= waiting) return undefined;
      await new Promise<void>((resolve) => queue.push(resolve));
      return release;
    },
  };
}
