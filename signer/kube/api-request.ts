import { ApiConnectionError, ApiStatusError } from './api-error.ts';
import { describe } from './exchange.ts';
import type { JsonReader } from './json-reader.ts';
import type { Status } from './types.ts';

/** A call of the Kubernetes API. */
export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Without query; its segments must be escaped already. */
  path: string;
  query?: Readonly<Record<string, string | undefined>>;
  /** A string is sent as it is, an object as JSON. */
  body?: string | object;
  /** `application/json` when left out, for PATCH `application/merge-patch+json`. */
  contentType?: string;
  /** The media type that the answer may be in; `application/json` when left out. It must be a kind of JSON. */
  accept?: string;
  /** Over all attempts, in milliseconds; 10 s when left out. */
  timeoutMs?: number;
  /**
   * `none`: one attempt. `safe`: the call may be done twice, so it is tried again after any problem. When left out:
   * `safe` for GET; else only where certainly nothing was done (no connection, 429, and 503 with Retry-After).
   */
  retry?: 'safe' | 'none';
  /** Metric label, such as `pods`. */
  resource?: string;
  /** The answer's body is of no interest: it is not parsed, and `body` is undefined. */
  discardBody?: boolean;
  /** Creates a reader for the body of a 2xx answer, once for each attempt. `body` is then the reader's result. */
  reader?: () => JsonReader;
  signal?: AbortSignal;
}

/** The content type of a call's body. */
export function contentTypeOf(request: ApiRequest): string {
  if (request.contentType !== undefined) return request.contentType;
  return request.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
}

/** Whether the call may be repeated. A call that may have taken effect is repeated only if the caller allows it. */
export function mayRetry(request: ApiRequest, error: unknown): boolean {
  if (request.retry === 'none') return false;
  const isSafe = request.retry === 'safe' || request.method === 'GET';
  if (error instanceof ApiConnectionError) {
    // Without a connection the call was never sent.
    return error.failure === 'connect' || (isSafe && error.failure === 'broken');
  }
  if (!(error instanceof ApiStatusError)) return false;
  if (error.status === 429) return true;
  if (error.status === 503 && error.retryAfterMs !== undefined) return true;
  return isSafe && [500, 502, 503, 504].includes(error.status);
}

/** `?a=b&c=d`, escaped; empty for an empty query. */
export function queryString(query: ApiRequest['query']): string {
  if (!query) return '';
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  }
  return parts.length > 0 ? `?${parts.join('&')}` : '';
}

/**
 * The answer's body as JSON; undefined when it is empty or was discarded.
 * @throws ApiConnectionError
 */
export function readBody<T>(request: ApiRequest, body: Buffer): T {
  if (request.discardBody || body.length === 0) return undefined as T;
  try {
    return JSON.parse(body.toString()) as T;
  } catch {
    // The parser's own message quotes the text, which may be a Secret.
    throw new ApiConnectionError('malformed', `${describe(request)}: the answer is not JSON`);
  }
}

/** The Status in an error answer; undefined when something else answered, such as a proxy. */
export function readStatus(body: Buffer): Status | undefined {
  try {
    const status = JSON.parse(body.toString()) as Status | null;
    return status?.kind === 'Status' ? status : undefined;
  } catch {
    return undefined;
  }
}
