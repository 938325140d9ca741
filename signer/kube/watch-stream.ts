import { createByteBuffer } from '../../client/byte-buffer.ts';
import { ApiConnectionError } from './api-error.ts';
import type { Connection, InFlight, Outgoing } from './connection.ts';
import { describe, type Incoming, reasonOf } from './exchange.ts';
import type { Fields } from './json-reader.ts';
import type { Time } from './time.ts';
import { createLineReader, type WatchEvent } from './watch-lines.ts';

/** Events that may be unread before the stream is paused. */
const highWater = 2_000;
const maxErrorBytes = 1024 * 1024;

/** The answer to a watch request: a stream of events, or an error status with its body. */
export type WatchAnswer =
  | {
      readonly kind: 'events';
      readonly headers: Incoming['headers'];
      readonly events: AsyncIterable<WatchEvent>;
    }
  | { readonly kind: 'refused'; readonly answer: Incoming };

/**
 * Opens a watch and resolves when its answer begins. The events end when the server ends the watch or the signal is
 * aborted, and throw ApiConnectionError when the connection breaks or a line is not an event.
 */
export function openWatch(
  connection: Connection,
  outgoing: Outgoing,
  limits: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly fields: Fields },
  { timer }: Time,
): Promise<WatchAnswer> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    const read = createLineReader(limits.fields, (event) => waiting.push(event));
    const errorBody = createByteBuffer();
    let inFlight: InFlight | undefined;
    let refused: { status: number; headers: Incoming['headers'] } | undefined;
    let waiting: WatchEvent[] = [];
    let isPaused = false;
    let ended: { error?: ApiConnectionError } | undefined;
    let wake: () => void = () => undefined;

    const cancelTimer = timer(
      () =>
        end(
          new ApiConnectionError(
            'timeout',
            `${describe(outgoing)}: no answer within ${Math.round(limits.timeoutMs)} ms`,
          ),
        ),
      limits.timeoutMs,
    );
    const abort = () => {
      reject(new ApiConnectionError('aborted', `${describe(outgoing)}: given up by the caller`));
      end();
    };

    /** The only place where a watch ends; without an error it ended normally. */
    function end(error?: ApiConnectionError): void {
      if (ended) return;
      ended = error ? { error } : {};
      cancelTimer();
      signal.removeEventListener('abort', abort);
      inFlight?.cancel();
      if (error) reject(error);
      wake();
    }

    async function* events(): AsyncGenerator<WatchEvent> {
      try {
        while (true) {
          const batch = waiting;
          waiting = [];
          if (isPaused) {
            isPaused = false;
            inFlight?.resume();
          }
          for (const event of batch) {
            if (signal.aborted) return;
            yield event;
          }
          if (waiting.length > 0) continue;
          if (ended?.error) throw ended.error;
          if (ended) return;
          await new Promise<void>((resume) => {
            wake = resume;
          });
        }
      } finally {
        end();
      }
    }

    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort);

    inFlight = connection.send(outgoing, {
      onHead(status, headers) {
        if (status !== 200) {
          refused = { status, headers };
          return;
        }
        cancelTimer();
        resolve({ kind: 'events', headers, events: events() });
      },
      onData(chunk) {
        if (refused) {
          errorBody.append(chunk, 0, Math.min(chunk.length, maxErrorBytes - errorBody.length));
          return;
        }
        try {
          read(chunk);
        } catch (error) {
          end(new ApiConnectionError('malformed', `${describe(outgoing)}: ${reasonOf(error)}`));
        }
        if (waiting.length > highWater && !isPaused) {
          isPaused = true;
          inFlight?.pause();
        }
        wake();
      },
      onEnd() {
        if (refused) resolve({ kind: 'refused', answer: { ...refused, body: errorBody.bytes() } });
        end();
      },
      onFailure(cause, isUnsent) {
        const failure = isUnsent ? 'connect' : 'broken';
        end(new ApiConnectionError(failure, `${describe(outgoing)}: ${reasonOf(cause)}`, { cause }));
      },
    });
  });
}
