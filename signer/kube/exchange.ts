import { type ByteBuffer, createByteBuffer } from '../../client/byte-buffer.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { ApiConnectionError } from './api-error.ts';
import type { Connection, InFlight, Outgoing } from './connection.ts';
import type { JsonReader } from './json-reader.ts';
import { onAbort } from './on-abort.ts';
import type { Time } from './time.ts';

export interface ExchangeLimits {
  /** From the call to the last byte of the answer, in milliseconds; waiting for a connection counts. */
  readonly timeoutMs: number;
  /** Longest answer, in bytes. */
  readonly maxBytes: number;
  /** Whether the body of a 2xx answer is discarded. */
  readonly discardBody: boolean;
  /** Reads the body of a 2xx answer as it arrives, in place of `body`. */
  readonly reader?: JsonReader | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface Incoming {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Empty when it was discarded or passed to a reader. */
  readonly body: Buffer;
  /** The reader's result. */
  readonly read?: { readonly value: unknown };
}

/**
 * Sends one request and reads the whole answer.
 * @throws ApiConnectionError
 */
export function exchange(
  connection: Connection,
  outgoing: Outgoing,
  limits: ExchangeLimits,
  { timer }: Time,
): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    let inFlight: InFlight | undefined;
    let status = 0;
    let headers: Incoming['headers'] = {};
    let keep = true;
    let bytes = 0;
    let body: ByteBuffer | undefined;
    const { reader } = limits;
    let isReading = false;

    if (signal?.aborted) return fail('aborted', 'given up by the caller');
    const cancelAbort = signal && onAbort(signal, () => giveUp('aborted', 'given up by the caller'));
    const cancelTimer = timer(
      () => giveUp('timeout', `no answer within ${Math.round(limits.timeoutMs)} ms`),
      limits.timeoutMs,
    );

    function settle(): void {
      cancelTimer();
      cancelAbort?.();
    }

    function giveUp(failure: ApiConnectionError['failure'], why: string): void {
      inFlight?.cancel();
      settle();
      fail(failure, why);
    }

    function fail(failure: ApiConnectionError['failure'], why: string, cause?: unknown): void {
      reject(new ApiConnectionError(failure, `${describe(outgoing)}: ${why}`, cause ? { cause } : {}));
    }

    function readWith(use: (by: JsonReader) => void): void {
      try {
        if (reader) use(reader);
      } catch {
        giveUp('malformed', 'the answer is not JSON');
      }
    }

    inFlight = connection.send(outgoing, {
      onHead(statusCode, responseHeaders) {
        status = statusCode;
        headers = responseHeaders;
        const isGood = statusCode >= 200 && statusCode <= 299;
        keep = !(limits.discardBody && isGood);
        isReading = reader !== undefined && isGood;
      },
      onData(chunk) {
        bytes += chunk.length;
        if (bytes > limits.maxBytes)
          giveUp('too-large', `the answer is longer than ${limits.maxBytes} bytes`);
        else if (isReading) readWith((by) => by.push(chunk));
        else if (keep) {
          body ??= createByteBuffer();
          body.append(chunk);
        }
      },
      onEnd() {
        settle();
        const incoming = { status, headers, body: body?.bytes() ?? noBody };
        if (isReading) readWith((by) => resolve({ ...incoming, read: { value: by.end() } }));
        else resolve(incoming);
      },
      onFailure(error, isUnsent) {
        settle();
        fail(isUnsent ? 'connect' : 'broken', reasonOf(error), error);
      },
    });
  });
}

const noBody = Buffer.alloc(0);

/** `GET /api/v1/pods`: names a request in an error. */
export function describe(outgoing: { method: string; path: string }): string {
  return `${outgoing.method} ${outgoing.path.split('?')[0]}`;
}

/** The message of a network error, with its code if the message lacks it. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  const parts = error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : '';
  const message = (messageOf(error) || parts).replace(/\s+/g, ' ').trim();
  return typeof code === 'string' && !message.includes(code) ? `${message} (${code})` : message;
}
