/** A request as the proxy saw it. */
export interface SeenRequest {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  /** Monotonic milliseconds (performance.now) at which its headers arrived. */
  readonly at: number;
  /** Status that the client got; undefined as long as, or for ever if, it got none. */
  status: number | undefined;
  /** SHA-256 of the body, once all of it was passed on to the server. */
  bodySha256: string | undefined;
}

/** Which requests a rule is for; what is left out matches everything. */
export interface Match {
  method?: string | readonly string[];
  path?: string | RegExp;
  /** True for watches alone, false for everything else. */
  watch?: boolean;
}

/**
 * What happens to a matching request:
 * - `delay`: it waits, then goes on to the next rule or the server;
 * - `answer`: the server never sees it; a status of 400 or more carries a metav1.Status unless `body` is given;
 * - `reset`: the TCP connection breaks, before the server saw the request, or after the server has answered it
 *   and before the client learns that;
 * - `hang`: the server never sees it, and no answer comes;
 * - `cut`: the answer passes until `afterEvents` lines are through; of the next one half is sent, and the TCP
 *   connection breaks;
 * - `silent`: headers and `afterEvents` lines pass, then nothing more ever comes, the connection staying open.
 */
export type Fault =
  | { kind: 'delay'; ms: number }
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string }
  | { kind: 'reset'; when: 'before' | 'after' }
  | { kind: 'hang' }
  | { kind: 'cut'; afterEvents: number }
  | { kind: 'silent'; afterEvents: number };

export interface Rule extends Match {
  fault: Fault;
  /** Lets this many matching requests pass first. Default 0. */
  skip?: number;
  /** Acts on this many requests, then no more. Default: all. */
  times?: number;
}

export interface RuleHandle {
  /** Requests it has acted on. */
  hits(): number;
  remove(): void;
}

export interface RuleBook {
  add(rule: Rule): RuleHandle;
  clear(): void;
  /** The faults for this request, in the order in which the rules were added. Counts the request. */
  faultsFor(request: Pick<SeenRequest, 'method' | 'path'>): Fault[];
}

export function createRuleBook(): RuleBook {
  const entries = new Set<{ rule: Rule; seen: number; hits: number }>();
  return {
    add: (rule) => {
      const entry = { rule, seen: 0, hits: 0 };
      entries.add(entry);
      return { hits: () => entry.hits, remove: () => void entries.delete(entry) };
    },
    clear: () => entries.clear(),
    faultsFor: (request) => {
      const faults: Fault[] = [];
      for (const entry of entries) {
        if (!matches(entry.rule, request)) continue;
        entry.seen += 1;
        if (entry.seen <= (entry.rule.skip ?? 0)) continue;
        if (entry.hits >= (entry.rule.times ?? Number.POSITIVE_INFINITY)) continue;
        entry.hits += 1;
        faults.push(entry.rule.fault);
      }
      return faults;
    },
  };
}

export function matches(match: Match, request: Pick<SeenRequest, 'method' | 'path'>): boolean {
  const methods = typeof match.method === 'string' ? [match.method] : match.method;
  if (methods && !methods.includes(request.method)) return false;
  if (match.watch !== undefined && match.watch !== isWatch(request.path)) return false;
  if (match.path === undefined) return true;
  return typeof match.path === 'string' ? request.path.includes(match.path) : match.path.test(request.path);
}

export function isWatch(path: string): boolean {
  return /[?&]watch=(1|true)(&|$)/.test(path);
}

/** The body that an API server sends with an error status. */
export function statusBody(code: number, retryAfterSeconds?: number): string {
  const reasons: Record<number, string> = {
    403: 'Forbidden',
    404: 'NotFound',
    409: 'Conflict',
    410: 'Expired',
    422: 'Invalid',
    429: 'TooManyRequests',
    500: 'InternalError',
    503: 'ServiceUnavailable',
  };
  return JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: `answered by the fault proxy with ${code}`,
    reason: reasons[code] ?? '',
    ...(retryAfterSeconds !== undefined && { details: { retryAfterSeconds } }),
    code,
  });
}
