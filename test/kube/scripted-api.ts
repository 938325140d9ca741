import { ApiConnectionError, ApiStatusError } from '../../signer/kube/api-error.ts';
import type { ApiRequest, Transport, WatchEvent, WatchRequest } from '../../signer/kube/transport.ts';

export type Answer = { status: number; body?: unknown; retryAfterMs?: number } | 'broken';

/** A watch as a test holds it: events are pushed, and it ends when the test says so. */
export interface HeldWatch {
  readonly request: WatchRequest;
  push(...events: WatchEvent[]): void;
  close(): void;
  fail(error: Error): void;
}

/**
 * The place of the transport where a test moves the clock: real connections know no fake time. What the wire and the
 * real API server do is shown in transport.test.ts and in the contract tests.
 */
export function createScriptedApi() {
  const requests: ApiRequest[] = [];
  const watches: HeldWatch[] = [];
  const api = {
    requests,
    watches,
    answer: (_request: ApiRequest): Answer | Promise<Answer> => ({ status: 200, body: {} }),
    /** What the next watches are refused with; undefined lets them be opened. */
    refuseWatch: (): Answer | undefined => undefined,
    transport: undefined as unknown as Transport,
  };
  api.transport = {
    async request<T>(request: ApiRequest) {
      requests.push(request);
      const answer = await api.answer(request);
      const body = settled(answer, request);
      const reader = request.reader?.();
      if (reader === undefined) return { status: 200, body: body as T };
      reader.push(Buffer.from(JSON.stringify(body)));
      return { status: 200, body: reader.end() as T };
    },
    async watch(request) {
      const refusal = api.refuseWatch();
      if (refusal !== undefined) settled(refusal, { method: 'GET', path: request.path });
      const held = holdWatch(request);
      watches.push(held);
      return held.events;
    },
    onDate: () => undefined,
    close: async () => undefined,
  };
  return api;
}

function settled(answer: Answer, request: { method: string; path: string }): unknown {
  if (answer === 'broken') throw new ApiConnectionError('broken', 'cut');
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  const body = (answer.body ?? { kind: 'Status', reason: 'Trouble', message: 'trouble' }) as object;
  throw new ApiStatusError(request, { status: answer.status, body, retryAfterMs: answer.retryAfterMs });
}

function holdWatch(request: WatchRequest): HeldWatch & { events: AsyncIterable<WatchEvent> } {
  let waiting: WatchEvent[] = [];
  let ended: { error?: Error } | undefined;
  let wake = () => {};
  const end = (how: { error?: Error }) => {
    ended ??= how;
    wake();
  };
  request.signal.addEventListener('abort', () => end({}));
  async function* events(): AsyncGenerator<WatchEvent> {
    while (true) {
      const batch = waiting;
      waiting = [];
      yield* batch;
      if (waiting.length > 0) continue;
      if (ended?.error) throw ended.error;
      if (ended) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    request,
    events: events(),
    push: (...more) => {
      waiting.push(...more);
      wake();
    },
    close: () => end({}),
    fail: (error) => end({ error }),
  };
}
