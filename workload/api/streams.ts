import type { ServerWritableStream } from '@grpc/grpc-js';
import type { Answer } from './methods.ts';
import { refusals } from './refusal.ts';
import type { WorkloadSource, WorkloadState } from './state.ts';

/**
 * Sends the whole state at once, and again after each change (Workload API 3). A state is encoded once for all streams,
 * and a client that reads slowly gets the newest state only, so that it holds up nothing and costs no memory.
 *
 * @param respond the encoded response to a state. Pure.
 */
export function createStreams(source: WorkloadSource, respond: (state: WorkloadState) => Answer<Buffer>) {
  let last: { readonly state: WorkloadState; readonly response: Answer<Buffer> } | undefined;

  function current(): Answer<Buffer> {
    const state = source.current();
    if (!state) return { ok: false, refusal: refusals.notReady };
    if (last?.state !== state) last = { state, response: respond(state) };
    return last.response;
  }

  return function serve(call: ServerWritableStream<unknown, Buffer>): void {
    let sent: Buffer | undefined;
    let isBlocked = false;
    const send = () => {
      if (isBlocked || call.cancelled) return;
      const now = current();
      if (!now.ok) {
        end();
        call.emit('error', now.refusal);
        return;
      }
      if (sent?.equals(now.value)) return;
      sent = now.value;
      isBlocked = !call.write(now.value);
    };
    const end = source.onChange(send);
    call.on('drain', () => {
      isBlocked = false;
      send();
    });
    call.on('cancelled', end);
    call.on('close', end);
    send();
  };
}
