import { messageOf } from '../../spiffe/errors.ts';
import type { Log } from '../observe/log.ts';
import { createNews } from '../observe/news.ts';
import { ApiStatusError, isExpired, isPlain404 } from './api-error.ts';
import { createBackoff } from './backoff.ts';
import { applyEvent, type Followed, type Location, listAll, takeList } from './list-watch.ts';
import { createPageSize } from './page-size.ts';
import { isOlder, readVersion } from './resource-version.ts';
import { pauseWith, type Time } from './time.ts';

/** Why a watch had to be opened again. */
export type RestartCause = 'closed' | 'expired' | 'error' | 'silent';

/**
 * The life of a reflector. Nothing but the functions below the loop makes a state, and each returns the next one:
 *
 * - `locating` → `listing` when the resource is served, else → `resting`, then `locating`.
 * - `listing` → `watching` from the list's version, when all pages are in the store. A plain 404 → `resting`, then
 *   `locating`; any other problem → `resting`, then `listing`.
 * - `watching` → `resuming` with the last version seen when the server closed the watch, → `listing` when the watch was
 *   cut for silence. Else → `resting`, then `listing` when the version is too old (410), went back, or failed several
 *   times without an event, `locating` after a plain 404, and `resuming` after another problem.
 * - `resuming` → `watching` from its version. → `listing` when the server's version is older, which means that etcd was
 *   restored from a backup: the API server accepts a watch from a future version and keeps silent about all changes
 *   until it gets there. A plain 404 → `resting`, then `locating`; another problem → `resting`, then as from `watching`.
 * - `resting` → the state in it, after its time.
 * - Every state → `stopped` when the signal is aborted, and only then.
 */
export type ReflectorState =
  | { readonly phase: 'locating' }
  | { readonly phase: 'listing'; readonly at: Location }
  | { readonly phase: 'watching' | 'resuming'; readonly at: Location; readonly resourceVersion: string }
  | { readonly phase: 'resting'; readonly waitMs: number; readonly next: ReflectorState }
  | { readonly phase: 'stopped' };

export interface ReflectorNeeds<T> extends Followed<T> {
  /** The path of the served version; undefined when none is served. Called at the start and after each plain 404. */
  readonly locate: (signal: AbortSignal) => Promise<Location | undefined>;
  readonly log: Log<'warn' | 'debug'>;
  readonly onState?: (state: ReflectorState) => void;
  readonly onRestart?: (cause: RestartCause) => void;
  /** The resource answered with a plain 404: the versions should be discovered again. */
  readonly onNotServed?: () => void;
  /**
   * A watch without an event or bookmark for this long is cut, and all is listed. The server sends a bookmark about
   * every minute, so this happens only when the watch is broken.
   */
  readonly silentAfterMs?: number;
  readonly time: Time;
}

const defaultSilentAfterMs = 100_000;
const backoffPolicy = { baseMs: 100, maxMs: 8_000 };
const failuresBeforeList = 3;
/** A watch that ended sooner after it was opened, and without an event, counts as a failure. */
const shortWatchMs = 1_000;

/**
 * Keeps a store equal to a resource: lists it in pages, watches it from there, and continues after every error.
 * Returns when the signal is aborted, and never throws.
 */
export async function runReflector<T>(needs: ReflectorNeeds<T>, signal: AbortSignal): Promise<void> {
  const { log } = needs;
  const { monotonic, jitter, timer } = needs.time;
  const pause = pauseWith(timer);
  const silentAfterMs = needs.silentAfterMs ?? defaultSilentAfterMs;
  const backoff = createBackoff(backoffPolicy, jitter);
  const pages = createPageSize();
  const isNews = createNews(needs.time);

  let state: ReflectorState = { phase: 'locating' };
  while (!signal.aborted) {
    needs.onState?.(state);
    state = await step(state);
  }
  needs.onState?.({ phase: 'stopped' });

  async function step(from: ReflectorState): Promise<ReflectorState> {
    switch (from.phase) {
      case 'locating':
        return locate();
      case 'listing':
        return list(from.at);
      case 'watching':
        return watch(from.at, from.resourceVersion);
      case 'resuming':
        return resume(from.at, from.resourceVersion);
      case 'resting':
        await pause(from.waitMs, signal);
        return from.next;
      case 'stopped':
        return from;
    }
  }

  async function locate(): Promise<ReflectorState> {
    try {
      const at = await needs.locate(signal);
      return at ? { phase: 'listing', at } : rest({ phase: 'locating' }, 'it is not served');
    } catch (error) {
      return rest({ phase: 'locating' }, error);
    }
  }

  async function list(at: Location): Promise<ReflectorState> {
    try {
      const { objects, resourceVersion } = await listAll(needs, at, pages, signal);
      takeList(needs, objects);
      return { phase: 'watching', at, resourceVersion };
    } catch (error) {
      return isPlain404(error) ? notServed(error) : rest({ phase: 'listing', at }, error);
    }
  }

  async function resume(at: Location, resourceVersion: string): Promise<ReflectorState> {
    try {
      const serverVersion = await readVersion(needs, at, signal);
      if (!isOlder(serverVersion, resourceVersion)) return { phase: 'watching', at, resourceVersion };
      const versions = { resource: needs.resource, resourceVersion, serverVersion };
      log.warn(
        versions,
        'the API server has older data than before, as after a restore of etcd; listing all again',
      );
      return { phase: 'listing', at };
    } catch (error) {
      return isPlain404(error) ? notServed(error) : rest(again(at, resourceVersion), error);
    }
  }

  /** The state after an error. A version that keeps failing is given up. */
  function again(at: Location, resourceVersion: string): ReflectorState {
    return backoff.failures() < failuresBeforeList
      ? { phase: 'resuming', at, resourceVersion }
      : { phase: 'listing', at };
  }

  function notServed(error: unknown): ReflectorState {
    needs.onNotServed?.();
    return rest({ phase: 'locating' }, error);
  }

  async function watch(at: Location, since: string): Promise<ReflectorState> {
    let openedAt = Number.POSITIVE_INFINITY;
    const cut = new AbortController();
    let lastHeard = monotonic();
    let isSilent = false;
    let cancelSilence = timer(checkSilence, silentAfterMs);
    let resourceVersion = since;

    function checkSilence(): void {
      const leftMs = lastHeard + silentAfterMs - monotonic();
      isSilent = leftMs <= 0;
      if (isSilent) cut.abort();
      else cancelSilence = timer(checkSilence, leftMs);
    }

    try {
      const events = await needs.transport.watch({
        path: at.path,
        query: {
          ...at.query,
          resourceVersion,
          allowWatchBookmarks: 'true',
          // Spread as in client-go, so that the watches of a restarted server do not all end together.
          timeoutSeconds: String(Math.round(275 + 30 * jitter())),
        },
        signal: AbortSignal.any([signal, cut.signal]),
        fields: needs.fields,
        ...(needs.resource !== undefined && { resource: needs.resource }),
      });
      openedAt = monotonic();
      for await (const event of events) {
        lastHeard = monotonic();
        const version = applyEvent(needs, event);
        if (isOlder(version, resourceVersion)) {
          return restarted('error', rest({ phase: 'listing', at }, 'the version of an event went back'));
        }
        if (version !== undefined) resourceVersion = version;
        backoff.reset();
      }
    } catch (error) {
      if (!isSilent) return failed(error);
    } finally {
      cancelSilence();
    }
    if (isSilent) return restarted('silent', { phase: 'listing', at });
    if (!hasWorked())
      return restarted('closed', rest(again(at, resourceVersion), 'the server closed the watch at once'));
    return restarted('closed', { phase: 'resuming', at, resourceVersion });

    /** Counted from when it was opened: a long attempt is no success. */
    function hasWorked(): boolean {
      const livedLong = monotonic() - openedAt >= shortWatchMs;
      if (livedLong) backoff.reset();
      return livedLong || resourceVersion !== since;
    }

    function failed(error: unknown): ReflectorState {
      hasWorked();
      if (isPlain404(error)) return restarted('error', notServed(error));
      if (isExpired(error)) return restarted('expired', rest({ phase: 'listing', at }, error));
      return restarted('error', rest(again(at, resourceVersion), error));
    }
  }

  function restarted(cause: RestartCause, state: ReflectorState): ReflectorState {
    if (!signal.aborted) needs.onRestart?.(cause);
    return state;
  }

  function rest(next: ReflectorState, problem: unknown): ReflectorState {
    const waitMs = backoff.next(problem instanceof ApiStatusError ? problem.retryAfterMs : undefined);
    const error = messageOf(problem);
    const fields = { resource: needs.resource, error, next: next.phase, waitMs: Math.round(waitMs) };
    if (!signal.aborted) log[isNews(error) ? 'warn' : 'debug'](fields, 'the resource cannot be followed now');
    return { phase: 'resting', waitMs, next };
  }
}
