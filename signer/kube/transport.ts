import { ApiConnectionError, ApiStatusError } from './api-error.ts';
import {
  type ApiRequest,
  contentTypeOf,
  mayRetry,
  queryString,
  readBody,
  readStatus,
} from './api-request.ts';
import { createBackoff, readRetryAfter } from './backoff.ts';
import type { OpenConnection, Outgoing } from './connection.ts';
import type { Credentials } from './credentials.ts';
import { exchange, type Incoming } from './exchange.ts';
import { openHttp2 } from './http2.ts';
import type { Fields } from './json-reader.ts';
import { serverDate } from './server-date.ts';
import { pauseWith, type Time } from './time.ts';
import type { WatchEvent } from './watch-lines.ts';
import { openWatch } from './watch-stream.ts';

export type { ApiRequest } from './api-request.ts';
export type { WatchEvent } from './watch-lines.ts';

/** One call, for the metrics. `code`: the HTTP status, or `error` when there was no answer. */
export interface Call {
  readonly verb: string;
  readonly resource: string;
  readonly code: string;
  readonly seconds: number;
}

/** Calls the API server over two connections, one for calls and one for watches. Each is opened when needed. */
export interface Transport {
  /** @throws ApiStatusError, ApiConnectionError */
  request<T>(request: ApiRequest): Promise<{ status: number; body: T }>;
  /**
   * Opens a watch. The events end without an error when the server ends the watch or the signal is aborted.
   * @throws ApiStatusError, ApiConnectionError, also from the iteration
   */
  watch(request: WatchRequest): Promise<AsyncIterable<WatchEvent>>;
  /** Reports the Date of each answer of the API server: its epoch milliseconds (whole seconds) and the round trip. */
  onDate(listener: (serverEpochMs: number, roundTripMs: number) => void): void;
  close(): Promise<void>;
}

export interface WatchRequest {
  path: string;
  query: Readonly<Record<string, string | undefined>>;
  signal: AbortSignal;
  resource?: string;
  /** The members to read of each object; all when left out. */
  fields?: Fields;
}

export interface TransportNeeds {
  credentials: Credentials;
  time: Time;
  /** Over HTTP/2 when left out. */
  open?: OpenConnection;
  onCall?: (call: Call) => void;
  userAgent?: string;
  /** Longest answer, in bytes; 64 MiB when left out. An object of 1.5 MiB in etcd can have 9 MiB of JSON. */
  maxAnswerBytes?: number;
}

const defaultTimeoutMs = 10_000;
const maxAttempts = 4;
const backoffPolicy = { baseMs: 100, maxMs: 2_000 };
const defaultMaxAnswerBytes = 64 * 1024 * 1024;

/** @throws KubespiffeError CONFIG_INVALID for a server that `open` does not support. */
export function createTransport(needs: TransportNeeds): Transport {
  const { credentials, time, open = openHttp2 } = needs;
  const { now, monotonic, jitter, timer } = time;
  const pause = pauseWith(timer);
  const maxBytes = needs.maxAnswerBytes ?? defaultMaxAnswerBytes;
  const userAgent = needs.userAgent ?? 'kubespiffe';
  const dateListeners: ((serverEpochMs: number, roundTripMs: number) => void)[] = [];
  const prefix = credentials.server.pathname.replace(/\/+$/, '');
  const [calls, watches] = [open(needs), open(needs)];

  async function outgoingFor(request: Omit<ApiRequest, 'signal'>): Promise<Outgoing> {
    const authorization = await credentials.authorization();
    const { body } = request;
    const contentType = contentTypeOf(request);
    return {
      method: request.method,
      path: `${prefix}${request.path}${queryString(request.query)}`,
      headers: {
        accept: request.accept ?? 'application/json',
        'user-agent': userAgent,
        ...(body !== undefined && { 'content-type': contentType }),
        ...(authorization !== undefined && { authorization }),
        ...credentials.impersonation,
      },
      body: typeof body === 'object' ? JSON.stringify(body) : body,
    };
  }

  function reportCall(
    request: { method: string; resource?: string },
    startedAt: number,
    answer?: Incoming,
  ): void {
    const tookMs = monotonic() - startedAt;
    needs.onCall?.({
      verb: request.method,
      resource: request.resource ?? 'other',
      code: answer ? String(answer.status) : 'error',
      seconds: tookMs / 1000,
    });
    if (dateListeners.length === 0 || answer === undefined) return;
    const serverEpochMs = serverDate(answer);
    if (serverEpochMs === undefined) return;
    for (const listener of dateListeners) listener(serverEpochMs, tookMs);
  }

  function statusError(request: { method: string; path: string }, answer: Incoming): ApiStatusError {
    return new ApiStatusError(request, {
      status: answer.status,
      body: readStatus(answer.body),
      retryAfterMs: readRetryAfter(answer.headers['retry-after'], now()),
    });
  }

  async function attempt(request: ApiRequest, timeoutMs: number): Promise<Incoming> {
    const outgoing = await outgoingFor(request);
    const startedAt = monotonic();
    let answer: Incoming | undefined;
    try {
      answer = await exchange(
        calls,
        outgoing,
        {
          timeoutMs,
          maxBytes,
          discardBody: request.discardBody ?? false,
          reader: request.reader?.(),
          signal: request.signal,
        },
        time,
      );
    } finally {
      reportCall(request, startedAt, answer);
    }
    if (answer.status < 200 || answer.status > 299) throw statusError(request, answer);
    return answer;
  }

  async function request<T>(request: ApiRequest): Promise<{ status: number; body: T }> {
    const deadline = monotonic() + (request.timeoutMs ?? defaultTimeoutMs);
    const backoff = createBackoff(backoffPolicy, jitter);
    let mayAskAgain = true;
    for (let attempts = 1; ; attempts += 1) {
      try {
        const { status, body, read } = await attempt(request, Math.max(1, deadline - monotonic()));
        return { status, body: read ? (read.value as T) : readBody<T>(request, body) };
      } catch (error) {
        if (error instanceof ApiStatusError && error.status === 401 && mayAskAgain) {
          mayAskAgain = false;
          credentials.invalidate();
          continue;
        }
        if (attempts >= maxAttempts || !mayRetry(request, error)) throw error;
        const waitMs = backoff.next(error instanceof ApiStatusError ? error.retryAfterMs : undefined);
        if (monotonic() + waitMs >= deadline) throw error;
        await pause(waitMs, request.signal);
        if (request.signal?.aborted) throw error;
      }
    }
  }

  async function watchOnce(watch: WatchRequest): Promise<AsyncIterable<WatchEvent>> {
    const asCall = { method: 'GET' as const, path: watch.path, query: { ...watch.query, watch: 'true' } };
    const outgoing = await outgoingFor(asCall);
    const startedAt = monotonic();
    const label = { method: 'WATCH', ...(watch.resource !== undefined && { resource: watch.resource }) };
    try {
      const limits = { timeoutMs: defaultTimeoutMs, signal: watch.signal };
      const opened = await openWatch(watches, outgoing, { ...limits, fields: watch.fields ?? true }, time);
      if (opened.kind === 'refused') {
        reportCall(label, startedAt, opened.answer);
        throw statusError(asCall, opened.answer);
      }
      reportCall(label, startedAt, { status: 200, headers: opened.headers, body: Buffer.alloc(0) });
      return opened.events;
    } catch (error) {
      if (error instanceof ApiConnectionError) reportCall(label, startedAt);
      throw error;
    }
  }

  return {
    request,
    async watch(watch) {
      try {
        return await watchOnce(watch);
      } catch (error) {
        if (!(error instanceof ApiStatusError) || error.status !== 401) throw error;
        credentials.invalidate();
        return watchOnce(watch);
      }
    },
    onDate: (listener) => void dateListeners.push(listener),
    async close() {
      calls.close();
      watches.close();
    },
  };
}
