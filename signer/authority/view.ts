import { once } from 'node:events';
import { messageOf } from '../../spiffe/errors.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import { createInformer, type InformerNeeds } from '../kube/informer.ts';
import { isOlder } from '../kube/resource-version.ts';
import { pauseWith } from '../kube/time.ts';
import type { Secret } from '../kube/types.ts';
import type { Logger } from '../observe/log.ts';
import { createNews } from '../observe/news.ts';
import { createPoolHolder, type LastPublished, type PoolHolder, type PoolHolderNeeds } from './holder.ts';
import { type PoolPlace, poolJsonIn, poolSecretNamed } from './pool-secret.ts';
import { inFull, type PoolProblem, poolProblem } from './problem.ts';
import { createReservations, type Reservations } from './reservations.ts';

/** A view that was not confirmed for this time signs nothing: a key may have been tainted meanwhile. */
const confirmedWithinMs = 30_000;
/** After so much silence of the watch the Secret is read live, which leaves time for several tries. */
const silenceBeforeLiveReadMs = 10_000;
/** Most that the clock may be set, or slewed, between two looks before the machine counts as having slept. */
const sleptAfterMs = 5_000;
const retryLiveReadMs = 2_000;
const liveReadTimeoutMs = 5_000;

type Publishable = ReturnType<PoolHolder['publishable']>;

/** The pool Secret as this replica sees it. */
export interface PoolView extends Pick<PoolHolder, 'current' | 'signable' | 'jwtSignable'> {
  /** Why nothing can be signed now; undefined when all is well. */
  problem(): PoolProblem | undefined;
  /** To be awaited before anything is signed: what ends at `until` is in the record of the pool then. */
  readonly reserve: Reservations['reserve'];
  /**
   * Reads the Secret from the API server, past every cache, and takes it into the view.
   * @returns the pool that bundles may be made from. A missing Secret is a result (PoolMissing), not an error.
   * @throws ApiStatusError, ApiConnectionError
   */
  readLive(signal?: AbortSignal): Promise<Publishable>;
  /** When the API server last confirmed the view, on the monotonic clock, in milliseconds; -Infinity for never. */
  confirmedAtMonotonic(): number;
  /** Resolves when the Secret was read once, with or without success: before that, no problem is known. */
  readonly looked: Promise<void>;
  /** Calls the listener when current() or problem() may have changed. */
  onChange(listener: () => void): void;
  /** Keeps the view up to date until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export interface PoolViewNeeds extends InformerNeeds, PoolPlace, Omit<PoolHolderNeeds, 'onChange'> {
  readonly log: Logger;
  /** `known` resolves when it is known what is published: the Secret is read only then. */
  readonly published: LastPublished & { readonly known: Promise<unknown> };
}

export function createPoolView(needs: PoolViewNeeds): PoolView {
  const { transport, namespace, name, log } = needs;
  const { monotonic } = needs.time;
  const secrets = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const pool = `${namespace}/${name}`;
  const informer = createInformer(needs, poolSecretNamed(needs));
  const { store } = informer;
  const listeners: (() => void)[] = [];
  const seconds = () => Math.floor(needs.time.now() / 1000);
  const holder = createPoolHolder({
    ...needs,
    onChange: () => {
      for (const listener of listeners) listener();
    },
  });
  const isNews = createNews(needs.time);
  /** What the holder was offered last: the Secret, or that there is none. */
  let seen: { readonly secret: Secret | undefined } | undefined;
  /** Counts what was learned about the Secret, by events and by live reads. */
  let learned = 0;
  /** The watch shows an older Secret than was seen: only a live read can tell which one is true. */
  let isInDoubt = false;
  let stopping: AbortSignal | undefined;
  let liveAt = Number.NEGATIVE_INFINITY;
  /** The monotonic clock stands still while a machine is suspended, and the other one does not. */
  const clocksApart = () => needs.time.now() - monotonic();
  let apartWhenRead = clocksApart();
  const hasSlept = () => clocksApart() - apartWhenRead > sleptAfterMs;
  const { promise: looked, resolve: markLooked } = Promise.withResolvers<void>();

  const offer = (secret: Secret | undefined) => {
    // Each change makes the listeners work: a look that finds nothing new must not count as one.
    if (seen && isSame(seen.secret, secret)) return;
    seen = { secret };
    holder.offer(secret, seconds());
    markLooked();
    const outcome = holder.signable(seconds());
    if (outcome.ok) log.info({ pool, authority: outcome.authority.id }, 'the pool can sign');
    else log.warn({ pool, reason: outcome.problem.reason }, inFull(outcome.problem));
  };

  const isOlderThanSeen = (secret: Secret) =>
    isOlder(secret.metadata.resourceVersion, seen?.secret?.metadata.resourceVersion);

  /** An event that is older than what was seen is late, or etcd was restored from a backup. */
  const takeEvent = (secret: Secret) => {
    learned += 1;
    if (!isOlderThanSeen(secret)) return offer(secret);
    isInDoubt = true;
    // Where this read fails, the loop below tries again.
    void readLive(stopping).catch(() => undefined);
  };

  store.subscribe((change) => {
    if (change.type === 'set') return takeEvent(change.object);
    learned += 1;
    offer(undefined);
  });

  /** An event in doubt confirms nothing. */
  const confirmedAtMonotonic = () => (isInDoubt ? liveAt : Math.max(liveAt, store.lastContact()));

  const readLive = async (signal?: AbortSignal): Promise<Publishable> => {
    const askedAt = monotonic();
    const apart = clocksApart();
    const learnedBefore = learned;
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
    // etcd itself has answered. So this is the newest state, whether its version is higher or not, unless something else was
    // learned meanwhile: then the versions decide, and if the answer seems to be older, the Secret is read again.
    const isOvertaken = learned !== learnedBefore;
    learned += 1;
    if (isOvertaken && seen && (secret ? isOlderThanSeen(secret) : seen.secret)) return readLive(signal);
    if (secret && isOlderThanSeen(secret)) {
      const { resourceVersion } = secret.metadata;
      const seenVersion = seen?.secret?.metadata.resourceVersion;
      const message =
        'the pool Secret is older than before, as after a restore of etcd; it is taken as it is now';
      log.warn({ pool, resourceVersion, seenVersion }, message);
    }
    liveAt = askedAt;
    apartWhenRead = apart;
    isInDoubt = false;
    offer(secret);
    return holder.publishable();
  };

  /** Asks live whenever the watch has been silent for long: a quiet pool looks like a dead watch. */
  const keepConfirmed = async (signal: AbortSignal) => {
    const pause = pauseWith(needs.time.timer);
    while (!signal.aborted) {
      const silentFor = monotonic() - confirmedAtMonotonic();
      try {
        if (silentFor >= silenceBeforeLiveReadMs || hasSlept()) await readLive(signal);
        await pause(Math.max(silenceBeforeLiveReadMs - (monotonic() - confirmedAtMonotonic()), 100), signal);
      } catch (error) {
        if (signal.aborted) return;
        markLooked();
        const problem = messageOf(error);
        if (isNews(problem)) log.warn({ pool, error: problem }, 'the pool could not be read');
        await pause(retryLiveReadMs, signal);
      }
    }
  };

  const isConfirmed = () => !hasSlept() && monotonic() - confirmedAtMonotonic() <= confirmedWithinMs;
  const confirmed = <T extends { readonly ok: boolean }>(outcome: T) =>
    !outcome.ok || isConfirmed() ? outcome : ({ ok: false, problem: unconfirmed } as const);
  const signable = (now: Seconds) => confirmed(holder.signable(now));

  return {
    current: holder.current,
    problem() {
      const outcome = signable(seconds());
      return outcome.ok ? undefined : outcome.problem;
    },
    signable,
    jwtSignable: (algorithm, now, propagationSeconds) =>
      confirmed(holder.jwtSignable(algorithm, now, propagationSeconds)),
    reserve: createReservations({ transport, pool: { namespace, name }, time: needs.time }).reserve,
    readLive,
    confirmedAtMonotonic,
    looked,
    onChange: (listener) => {
      listeners.push(listener);
    },
    async run(signal) {
      stopping = signal;
      await Promise.race([needs.published.known, once(signal, 'abort')]);
      store.synced.then(() => {
        if (store.size === 0) offer(undefined);
      });
      await Promise.all([informer.run(signal), keepConfirmed(signal)]);
    },
  };
}

const unconfirmed = poolProblem(
  'PoolUnconfirmed',
  'pool',
  `the API server has not confirmed the Secret for ${confirmedWithinMs / 1000} s`,
  'check that the signer can reach the API server and may get, list and watch the Secret',
);

/** The content counts too: after a restore of etcd a version is given a second time. */
function isSame(one: Secret | undefined, other: Secret | undefined): boolean {
  if (!one || !other) return one === other;
  return (
    one.metadata.resourceVersion === other.metadata.resourceVersion && poolJsonIn(one) === poolJsonIn(other)
  );
}
