import { EventEmitter } from 'node:events';
import type { IssuedToken } from '../client/jwt-svid.ts';
import { KubespiffeError, messageOf } from '../spiffe/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../spiffe/id.ts';
import { checkJwtSvid } from '../spiffe/jwt-clauses.ts';
import { parseJwt } from '../spiffe/jwt-svid.ts';
import { callListeners, type SourceEvents, type SourceOptions } from './follow.ts';

/**
 * A JWT-SVID of this workload. Only the token endpoint says which registration gave the name: from a Workload API,
 * `registration` is always undefined.
 */
export interface JwtSvid extends IssuedToken {
  readonly id: SpiffeId;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
}

/** Gives JWT-SVIDs of this workload, until it is ended. */
export interface JwtSource extends AsyncDisposable {
  /**
   * A token for one audience, or for several together, reused for half of its lifetime. While no new one can be fetched, the
   * known one is given until it expires, and `problem` is emitted.
   *
   * @throws KubespiffeError TOKEN_REFUSED where no token can be had, WORKLOAD_API_UNAVAILABLE where the Workload API gives none.
   */
  get(audience: string | readonly string[]): Promise<JwtSvid>;
  /**
   * When `get` will request a new token, in milliseconds since the epoch: after half of the lifetime of the known one, or 5 s after a
   * failed request. Now, where no token is known.
   */
  renewAtMs(audience: string | readonly string[]): number;
  /** `update`: a new token was got. */
  readonly events: EventEmitter<SourceEvents>;
}

type Audience = string | readonly string[];

interface Known {
  readonly svid: JwtSvid;
  /** When it came, in milliseconds since the epoch. At an earlier time, the clock was set back. */
  readonly receivedAt: number;
  /** When a new one is asked for, in milliseconds since the epoch. */
  readonly renewAt: number;
  /** Why the last request failed: it is emitted once, until one succeeds. */
  readonly problem?: string;
}

const maxAudiences = 1_000;
/** After a failure, the issuer is left in peace for this long where a known token still works. */
const retryMs = 5_000;

const nameOf = (audience: Audience): string => JSON.stringify([audience].flat());

/**
 * Makes a source of tokens that reuses each for half of its lifetime and asks once at a time for each set of audiences.
 *
 * @param ask gets a new token. issuer: who answers, for errors.
 */
export function cacheTokens(
  ask: (audience: Audience, signal: AbortSignal) => Promise<IssuedToken>,
  issuer: string,
  { signal, now = Date.now }: Pick<SourceOptions, 'signal' | 'now'>,
): JwtSource {
  const disposed = new AbortController();
  const ended = AbortSignal.any([disposed.signal, ...(signal ? [signal] : [])]);
  const events = new EventEmitter<SourceEvents>();
  const known = new Map<string, Known>();
  const asking = new Map<string, Promise<JwtSvid>>();

  const askNow = async (audience: Audience, name: string): Promise<JwtSvid> => {
    const issued = await ask(audience, ended);
    const receivedAt = now();
    const svid = readAnswer(issued, audience, receivedAt, issuer);
    known.delete(name);
    known.set(name, { svid, receivedAt, renewAt: (receivedAt + svid.expiresAt * 1000) / 2 });
    const [oldest] = known.keys();
    if (known.size > maxAudiences && oldest !== undefined) known.delete(oldest);
    callListeners(() => events.emit('update'));
    return svid;
  };
  const renew = async (audience: Audience, name: string, last: Known | undefined): Promise<JwtSvid> => {
    try {
      return await askNow(audience, name);
    } catch (error) {
      ended.throwIfAborted();
      const problem =
        error instanceof KubespiffeError ? error : new KubespiffeError('TOKEN_REFUSED', messageOf(error));
      if (!last || now() >= last.svid.expiresAt * 1000) throw problem;
      const { message } = problem;
      known.set(name, { ...last, receivedAt: now(), renewAt: now() + retryMs, problem: message });
      if (message !== last.problem) callListeners(() => events.emit('problem', problem));
      return last.svid;
    }
  };

  return {
    events,
    async get(audience) {
      ended.throwIfAborted();
      const name = nameOf(audience);
      const last = known.get(name);
      if (last && isFresh(last, now())) return last.svid;
      const open = asking.get(name);
      if (open) return open;
      const asked = renew(audience, name, last).finally(() => asking.delete(name));
      asking.set(name, asked);
      return asked;
    },
    renewAtMs: (audience) => known.get(nameOf(audience))?.renewAt ?? now(),
    async [Symbol.asyncDispose]() {
      disposed.abort();
      await Promise.allSettled(asking.values());
      known.clear();
    },
  };
}

const isFresh = ({ svid, receivedAt, renewAt }: Known, now: number): boolean =>
  receivedAt <= now && now < Math.min(renewAt, svid.expiresAt * 1000);

function readAnswer(issued: IssuedToken, audience: Audience, nowMs: number, issuer: string): JwtSvid {
  const parsed = parseJwt(issued.token);
  const [expected] = [audience].flat();
  const broken = parsed.ok
    ? checkJwtSvid(parsed.value, { now: Math.floor(nowMs / 1000), audience: expected }).find(
        ({ level, ok }) => level === 'must' && !ok,
      )?.message
    : parsed.reason;
  const id = parseSpiffeId(parsed.ok ? String(parsed.value.claims.sub) : '');
  if (!parsed.ok || broken !== undefined || !id.ok) {
    throw new KubespiffeError('TOKEN_REFUSED', `${issuer} answered with an unusable token: ${broken}`);
  }
  return { ...issued, id: id.value, expiresAt: Number(parsed.value.claims.exp) };
}
