import { KubespiffeError } from '../../spiffe/errors.ts';
import { boundRetryAfter } from './backoff.ts';
import type { Status } from './types.ts';

/** Longest part of a server's message that goes into ours, in characters. */
const maxServerMessage = 1024;

/** The API server answered with a status other than 2xx. */
export class ApiStatusError extends KubespiffeError {
  /** The HTTP status. */
  readonly status: number;
  /** meta/v1 Status.reason such as `NotFound` or `AlreadyExists`; empty when the answer was not a Status. */
  readonly reason: string;
  readonly details: Status['details'];
  /** How long the server asked us to wait, in milliseconds; at most five minutes. */
  readonly retryAfterMs: number | undefined;

  constructor(
    request: { method: string; path: string },
    answer: { status: number; body: Status | undefined; retryAfterMs: number | undefined },
  ) {
    const { status, body } = answer;
    const said = body?.message ? `: ${body.message.slice(0, maxServerMessage)}` : '';
    const redirected = status >= 300 && status < 400 ? ' (redirects are not followed)' : '';
    const what = `${status}${redirected} to ${request.method} ${request.path}`;
    super('API_STATUS', `the API server answered ${what}${said}`);
    this.status = status;
    this.reason = body?.reason ?? '';
    this.details = body?.details;
    const { retryAfterSeconds } = body?.details ?? {};
    // An admission webhook chooses this number, and the API server passes it on.
    const asked =
      typeof retryAfterSeconds === 'number' && retryAfterSeconds > 0 ? retryAfterSeconds : Number.NaN;
    this.retryAfterMs = answer.retryAfterMs ?? boundRetryAfter(asked * 1000);
  }
}

/** Why there was no answer. `aborted`: the caller's own signal. */
export type ConnectionFailure = 'connect' | 'broken' | 'timeout' | 'too-large' | 'malformed' | 'aborted';

/** There was no answer that could be used. Whether the server acted on the request is not known. */
export class ApiConnectionError extends KubespiffeError {
  readonly failure: ConnectionFailure;

  constructor(failure: ConnectionFailure, message: string, options?: ErrorOptions) {
    super('API_UNREACHABLE', message, options);
    this.failure = failure;
  }
}

/** A 404 that names an object: the object does not exist. */
export function isNotFoundOfObject(error: unknown): error is ApiStatusError {
  return error instanceof ApiStatusError && error.status === 404 && Boolean(error.details?.name);
}

/** A 404 that names no object: the server does not serve this resource in this version. */
export function isPlain404(error: unknown): error is ApiStatusError {
  return error instanceof ApiStatusError && error.status === 404 && !error.details?.name;
}

/** The resource version, or the page token, is too old: list again. */
export function isExpired(error: unknown): error is ApiStatusError {
  return error instanceof ApiStatusError && error.status === 410;
}
