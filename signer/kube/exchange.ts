import type { Dispatcher } from 'undici';
import { ApiConnectionError } from './api-error.ts';
import type { Connection } from './connection.ts';
import type { SetTimer } from './timer.ts';

/** One HTTP request as it goes out. */
export interface Outgoing {
  readonly method: Dispatcher.HttpMethod;
  /** With its query. */
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

export interface ExchangeLimits {
  /** From the call to the last byte of the answer, in milliseconds; waiting for a connection counts. */
  readonly timeoutMs: number;
  /** Longest answer, in bytes. */
  readonly maxBytes: number;
  /** Whether a good answer's body is of no interest: it is then read past and not kept. */
  readonly discardBody: boolean;
  readonly signal: AbortSignal | undefined;
}

export interface Incoming {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Empty when it was discarded. */
  readonly body: Buffer;
}

/**
 * Sends one request and reads the whole answer.
 * @throws ApiConnectionError
 */
export function exchange(
  connection: Connection,
  outgoing: Outgoing,
  limits: ExchangeLimits,
  timer: SetTimer,
): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    let controller: Dispatcher.DispatchController | undefined;
    let isSettled = false;
    let status = 0;
    let headers: Incoming['headers'] = {};
    let keep = true;
    let bytes = 0;
    const chunks: Buffer[] = [];

    const cancelTimer = timer(
      () => fail('timeout', `no answer within ${limits.timeoutMs} ms`),
      limits.timeoutMs,
    );
    const abort = () => fail('aborted', 'given up by the caller');

    function settle(): void {
      isSettled = true;
      cancelTimer();
      signal?.removeEventListener('abort', abort);
    }

    function fail(failure: ApiConnectionError['failure'], why: string, cause?: unknown): void {
      if (isSettled) return;
      settle();
      const error = new ApiConnectionError(failure, `${describe(outgoing)}: ${why}`, cause ? { cause } : {});
      controller?.abort(error);
      reject(error);
    }

    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort);

    connection.dispatch(
      {
        method: outgoing.method,
        path: outgoing.path,
        headers: outgoing.headers,
        body: outgoing.body ?? null,
        ...untimed,
      },
      {
        onRequestStart(started) {
          controller = started;
          // Given up while it waited for the connection: it is not sent any more.
          if (isSettled) started.abort(new Error('given up'));
        },
        onResponseStart(_controller, statusCode, responseHeaders) {
          // 1xx answers come here too; the last one counts.
          status = statusCode;
          headers = responseHeaders;
          keep = !(limits.discardBody && statusCode < 300);
        },
        onResponseData(_controller, chunk) {
          bytes += chunk.length;
          if (bytes > limits.maxBytes)
            fail('too-large', `the answer is longer than ${limits.maxBytes} bytes`);
          else if (keep) chunks.push(chunk);
        },
        onResponseEnd() {
          if (isSettled) return;
          settle();
          const [only] = chunks;
          resolve({ status, headers, body: chunks.length === 1 && only ? only : Buffer.concat(chunks) });
        },
        onResponseError(_controller, error) {
          fail(controller && !isUnsent(error) ? 'broken' : 'connect', reasonOf(error), error);
        },
      },
    );
  });
}

/** undici's own time-outs are off: a timer over all of it also covers the wait for a connection or a stream. */
export const untimed = { headersTimeout: 0, bodyTimeout: 0 } as const;

/** `GET /api/v1/pods`: names a request in an error. */
export function describe(outgoing: { method: string; path: string }): string {
  return `${outgoing.method} ${outgoing.path.split('?')[0]}`;
}

/**
 * Nothing of the request was acted on: Node raises the first two where no stream could be opened any more, undici
 * the third for streams above the last one that a GOAWAY accepts (RFC 9113 6.8), from the second refusal of the
 * same request on; the first it repeats itself.
 */
function isUnsent(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (code === 'ERR_HTTP2_INVALID_SESSION' || code === 'ERR_HTTP2_GOAWAY_SESSION') return true;
  return code === 'UND_ERR_INFO' && String(message).includes('"GOAWAY" frame received with code 0');
}

/** What a network error says, with its code where the message does not have it. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  const parts = error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : '';
  const message = (error.message || parts).replace(/\s+/g, ' ').trim();
  return typeof code === 'string' && !message.includes(code) ? `${message} (${code})` : message;
}
