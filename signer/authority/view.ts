import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import { type RestartCause, runReflector } from '../kube/reflector.ts';
import { createStore } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { Secret } from '../kube/types.ts';
import type { Logger } from '../observe/log.ts';
import { createPoolHolder, type PoolHolder, type Published, type Signable } from './holder.ts';
import type { JwtSigningAlgorithm } from './jwt-authority.ts';
import type { JwtSignable } from './jwt-signing.ts';
import type { Pool } from './pool.ts';
import { type PoolProblem, poolProblem } from './problem.ts';

/** A view that was not confirmed for so long signs nothing: a key may have been tainted meanwhile. */
const confirmedWithinMs = 30_000;
/** After so much silence of the watch the Secret is read live, which leaves time for several tries. */
const silenceBeforeLiveReadMs = 10_000;
/** By so much the clock may be set, or slewed between two looks, before the machine counts as having slept. */
const sleptAfterMs = 5_000;
const retryLiveReadMs = 2_000;
const liveReadTimeoutMs = 5_000;

type Publishable = ReturnType<PoolHolder['publishable']>;

/** The pool Secret as this replica sees it. */
export interface PoolView {
  /** The last good pool: what the bundles are made from. */
  current(): Pool | undefined;
  /** Why nothing can be signed now; undefined when all is well. */
  problem(): PoolProblem | undefined;
  /** The authority that signs at `now` (seconds since the epoch), or why there is none. */
  signable(now: number): Signable;
  /** The key that signs JWT-SVIDs at `now`, of those that have been published for so many seconds, or why none. */
  jwtSignable(algorithm: JwtSigningAlgorithm, now: number, propagationSeconds: number): JwtSignable;
  /**
   * Reads the Secret from the API server, past every cache, and takes it into the view.
   * @returns the pool that bundles may be made from. A missing Secret is a result (PoolMissing), not an error.
   * @throws ApiStatusError, ApiConnectionError
   */
  readLive(signal?: AbortSignal): Promise<Publishable>;
  /** When the API server last confirmed the view, on the monotonic clock, in milliseconds; -Infinity for never. */
  confirmedAtMonotonic(): number;
  /** Resolves when the Secret was looked at once, whatever came of it: until then nobody can say what is wrong. */
  readonly looked: Promise<void>;
  /** Calls the listener when current() or problem() may have changed. */
  onChange(listener: () => void): void;
  /** Keeps the view up to date until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export interface PoolViewNeeds {
  transport: Transport;
  namespace: string;
  name: string;
  trustDomain: string;
  /** Epoch milliseconds. */
  now: () => number;
  /** Milliseconds of a clock that never goes back. */
  monotonic: () => number;
  log: Logger;
  /** `known` resolves when it is known what is published: the Secret is read only then. */
  published: Published & { readonly known: Promise<unknown> };
  onWatchRestart?: (cause: RestartCause) => void;
  pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export function createPoolView(needs: PoolViewNeeds): PoolView {
  const { transport, namespace, name, trustDomain, monotonic, log } = needs;
  const secrets = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const pool = `${namespace}/${name}`;
  const store = createStore<Secret>({ monotonic });
  const listeners: (() => void)[] = [];
  const seconds = () => Math.floor(needs.now() / 1000);
  const holder = createPoolHolder({
    trustDomain,
    published: needs.published,
    onChange: () => {
      for (const listener of listeners) listener();
    },
  });
  /** The version that the holder was offered last; 'none' for a Secret that is not there. */
  let seen: string | undefined;
  let liveAt = Number.NEGATIVE_INFINITY;
  /** The monotonic clock stands still while a machine is suspended, and the other one does not. */
  const clocksApart = () => needs.now() - monotonic();
  let apartWhenRead = clocksApart();
  const hasSlept = () => clocksApart() - apartWhenRead > sleptAfterMs;
  const { promise: looked, resolve: markLooked } = Promise.withResolvers<void>();

  const offer = (secret: Secret | undefined) => {
    const version = secret?.metadata.resourceVersion ?? 'none';
    // Each change makes the listeners work: a look that finds nothing new must not count as one.
    if (version === seen) return;
    seen = version;
    holder.offer(secret, seconds());
    markLooked();
    const outcome = holder.signable(seconds());
    if (outcome.ok) log.info({ pool, authority: outcome.authority.id }, 'the pool can sign');
    else log.warn({ pool, reason: outcome.problem.reason }, outcome.problem.message);
  };

  /** A live read may be ahead of the watch, or be overtaken by it: then it tells an older state. */
  const offerIfNewer = (secret: Secret) => {
    if (!isOlder(secret.metadata.resourceVersion, seen)) offer(secret);
  };

  store.subscribe((change) => {
    if (change.type === 'delete') offer(undefined);
    else offerIfNewer(change.object);
  });

  const confirmedAtMonotonic = () => Math.max(liveAt, store.lastContact());

  const readLive = async (signal?: AbortSignal): Promise<Publishable> => {
    const askedAt = monotonic();
    const apart = clocksApart();
    const secret = await transport
      .request<Secret>({
        method: 'GET',
        path: `${secrets}/${encodeURIComponent(name)}`,
        resource: 'secrets',
        timeoutMs: liveReadTimeoutMs,
        ...(signal ? { signal } : {}),
      })
      .then((response) => response.body)
      .catch((error: unknown) => {
        if (isNotFoundOfObject(error)) return undefined;
        throw error;
      });
    liveAt = askedAt;
    apartWhenRead = apart;
    if (secret) offerIfNewer(secret);
    else offer(undefined);
    return holder.publishable();
  };

  /** Asks live whenever the watch has been silent for long: a quiet pool looks like a dead watch. */
  const keepConfirmed = async (signal: AbortSignal) => {
    const pause = needs.pause ?? ((ms, until) => sleep(ms, undefined, { signal: until, ref: false }));
    let lastFault: string | undefined;
    while (!signal.aborted) {
      const silentFor = monotonic() - confirmedAtMonotonic();
      try {
        if (silentFor >= silenceBeforeLiveReadMs || hasSlept()) await readLive(signal);
        lastFault = undefined;
        await pause(Math.max(silenceBeforeLiveReadMs - (monotonic() - confirmedAtMonotonic()), 100), signal);
      } catch (error) {
        if (signal.aborted) return;
        markLooked();
        const fault = messageOf(error);
        if (fault !== lastFault) log.warn({ pool, error: fault }, 'the pool could not be read');
        lastFault = fault;
        await pause(retryLiveReadMs, signal).catch(() => undefined);
      }
    }
  };

  const isConfirmed = () => !hasSlept() && monotonic() - confirmedAtMonotonic() <= confirmedWithinMs;
  const signable = (now: number): Signable => {
    const outcome = holder.signable(now);
    return !outcome.ok || isConfirmed() ? outcome : { ok: false, problem: unconfirmed };
  };

  return {
    current: holder.current,
    problem() {
      const outcome = signable(seconds());
      return outcome.ok ? undefined : outcome.problem;
    },
    signable,
    jwtSignable(algorithm, now, propagationSeconds) {
      const outcome = holder.jwtSignable(algorithm, now, propagationSeconds);
      return !outcome.ok || isConfirmed() ? outcome : { ok: false, problem: unconfirmed };
    },
    readLive,
    confirmedAtMonotonic,
    looked,
    onChange: (listener) => {
      listeners.push(listener);
    },
    async run(signal) {
      await Promise.race([needs.published.known, once(signal, 'abort')]);
      store.synced.then(() => {
        if (store.size === 0) offer(undefined);
      });
      const reflected = runReflector<Secret>(
        {
          transport,
          locate: async () => ({ path: secrets, query: { fieldSelector: `metadata.name=${name}` } }),
          store,
          project: (raw) => raw as Secret,
          resource: 'secrets',
          monotonic,
          log,
          ...(needs.onWatchRestart && { onRestart: needs.onWatchRestart }),
        },
        signal,
      );
      await Promise.all([reflected, keepConfirmed(signal)]);
    },
  };
}

const unconfirmed = poolProblem(
  'PoolUnconfirmed',
  'pool',
  `the API server has not confirmed the Secret for ${confirmedWithinMs / 1000} s`,
  'see whether the signer can reach the API server and may get, list and watch the Secret',
);

/** Resource versions are numbers that grow (KEP-5504); where they are not, nothing counts as older. */
function isOlder(version: string | undefined, than: string | undefined): boolean {
  const digits = /^\d+$/;
  if (!version || !than || !digits.test(version) || !digits.test(than)) return false;
  return BigInt(version) < BigInt(than);
}
