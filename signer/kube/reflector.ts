import { messageOf } from '../errors.ts';
import { ApiStatusError, isExpired, isPlain404 } from './api-error.ts';
import { createBackoff } from './backoff.ts';
import { applyEvent, type Followed, type Location, listAll } from './list-watch.ts';
import { pauseWith, type SetTimer, setTimer } from './timer.ts';

/** Why a watch had to be opened again. */
export type RestartCause = 'closed' | 'expired' | 'error' | 'silent';

/**
 * The life of a reflector. Nothing but the functions below the loop makes a state, and each returns the next one:
 *
 * - `locating` → `listing` when the resource is served, else → `resting`, then `locating`.
 * - `listing` → `watching` from the list's version, when all pages are in the store. A plain 404 → `resting`, then
 *   `locating`; any other trouble → `resting`, then `listing`.
 * - `watching` → `watching` from the last version seen, when the server closed the watch, or it was cut for silence.
 *   Else → `resting`, then `listing` when the version is too old (410) or failed several times without an event,
 *   `locating` after a plain 404, and `watching` after other trouble.
 * - `resting` → the state in it, after its time.
 * - Every state → `stopped` when the signal is aborted, and only then.
 */
export type ReflectorState =
  | { readonly phase: 'locating' }
  | { readonly phase: 'listing'; readonly at: Location }
  | { readonly phase: 'watching'; readonly at: Location; readonly resourceVersion: string }
  | { readonly phase: 'resting'; readonly waitMs: number; readonly next: ReflectorState }
  | { readonly phase: 'stopped' };

export interface ReflectorNeeds<T> extends Followed<T> {
  /** Where the resource is served now; undefined when it is not. Asked at the start and after each plain 404. */
  readonly locate: (signal: AbortSignal) => Promise<Location | undefined>;
  readonly log: { warn(fields: object, message: string): void; debug(fields: object, message: string): void };
  readonly onState?: (state: ReflectorState) => void;
  readonly onRestart?: (cause: RestartCause) => void;
  /** The resource answered a plain 404: whoever knows where it is served should look again. */
  readonly onNotServed?: () => void;
  /** A watch without an event or a bookmark for so long is cut; the server sends a bookmark about every minute. */
  readonly silentAfterMs?: number;
  readonly monotonic?: () => number;
  readonly jitter?: () => number;
  readonly timer?: SetTimer;
}

const defaultSilentAfterMs = 100_000;
const backoffPolicy = { baseMs: 100, maxMs: 8_000 };
const failuresBeforeList = 3;
/** A watch that ended sooner, and without an event, counts as a failure. */
const shortWatchMs = 1_000;

/**
 * Keeps a store equal to a resource: lists it in pages, watches it from there, and goes on after whatever happens.
 * Returns when the signal is aborted, and never throws.
 */
export async function runReflector<T>(needs: ReflectorNeeds<T>, signal: AbortSignal): Promise<void> {
  const { store, log } = needs;
  const monotonic = needs.monotonic ?? (() => performance.now());
  const jitter = needs.jitter ?? Math.random;
  const timer = needs.timer ?? setTimer;
  const pause = pauseWith(timer);
  const silentAfterMs = needs.silentAfterMs ?? defaultSilentAfterMs;
  const backoff = createBackoff(backoffPolicy, jitter);
  let lastTrouble = '';

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
      const { objects, resourceVersion } = await listAll(needs, at, signal);
      store.replace(objects);
      return { phase: 'watching', at, resourceVersion };
    } catch (error) {
      if (!isPlain404(error)) return rest({ phase: 'listing', at }, error);
      needs.onNotServed?.();
      return rest({ phase: 'locating' }, error);
    }
  }

  async function watch(at: Location, since: string): Promise<ReflectorState> {
    const startedAt = monotonic();
    const cut = new AbortController();
    const stop = () => cut.abort();
    signal.addEventListener('abort', stop, { once: true });
    let lastHeard = startedAt;
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
          // client-go's spread avoids that all watches of a restarted server end together; so does ours.
          timeoutSeconds: String(Math.round(275 + 30 * jitter())),
        },
        signal: cut.signal,
        ...(needs.resource !== undefined && { resource: needs.resource }),
      });
      for await (const event of events) {
        lastHeard = monotonic();
        const applied = applyEvent(needs, event);
        if (applied.kind === 'refused') return failed(applied.error);
        if (applied.resourceVersion !== undefined) resourceVersion = applied.resourceVersion;
        if (lastTrouble !== '' || backoff.failures() > 0) worked();
      }
    } catch (error) {
      if (!isSilent) return failed(error);
    } finally {
      cancelSilence();
      signal.removeEventListener('abort', stop);
    }
    if (monotonic() - startedAt >= shortWatchMs) worked();
    const resumed: ReflectorState = { phase: 'watching', at, resourceVersion };
    if (isSilent) return restarted('silent', resumed);
    if (resourceVersion === since && monotonic() - startedAt < shortWatchMs) {
      return restarted('closed', rest(resumed, 'the server closed the watch at once'));
    }
    return restarted('closed', resumed);

    function failed(error: unknown): ReflectorState {
      if (monotonic() - startedAt >= shortWatchMs) worked();
      const { cause, next } = afterFailure(error);
      return restarted(cause, rest(next, error));
    }

    function afterFailure(error: unknown): { cause: RestartCause; next: ReflectorState } {
      if (isExpired(error)) return { cause: 'expired', next: { phase: 'listing', at } };
      if (isPlain404(error)) {
        needs.onNotServed?.();
        return { cause: 'error', next: { phase: 'locating' } };
      }
      const mayResume = resourceVersion !== since || backoff.failures() < failuresBeforeList;
      return {
        cause: 'error',
        next: mayResume ? { phase: 'watching', at, resourceVersion } : { phase: 'listing', at },
      };
    }
  }

  function restarted(cause: RestartCause, state: ReflectorState): ReflectorState {
    if (!signal.aborted) needs.onRestart?.(cause);
    return state;
  }

  function rest(next: ReflectorState, trouble: unknown): ReflectorState {
    const waitMs = backoff.next(trouble instanceof ApiStatusError ? trouble.retryAfterMs : undefined);
    const error = messageOf(trouble);
    const fields = { resource: needs.resource, error, next: next.phase, waitMs: Math.round(waitMs) };
    // The same trouble again and again is told once.
    if (!signal.aborted)
      log[error === lastTrouble ? 'debug' : 'warn'](fields, 'the resource cannot be followed now');
    lastTrouble = error;
    return { phase: 'resting', waitMs, next };
  }

  function worked(): void {
    backoff.reset();
    lastTrouble = '';
  }
}
