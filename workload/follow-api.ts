import { EventEmitter, once } from 'node:events';
import type { EndpointAddress } from '../client/endpoint-address.ts';
import { grpcCodes } from '../client/grpc.ts';
import { apiError, type StreamMethod } from '../client/workload-api.ts';
import { type ApiStream, startStream } from './api-stream.ts';
import { type Followed, follow, type Reading, type SourceOptions } from './follow.ts';

export interface WorkloadApiOptions extends SourceOptions {
  /** Longest wait for the first response, or for a token, in milliseconds. Default 30000. */
  readonly timeoutMs?: number;
}

/** A workload may have certificates without tokens, or tokens without certificates. */
const withheld: ReadonlySet<number> = new Set([grpcCodes.permissionDenied, grpcCodes.unimplemented]);

/**
 * Follows the responses of some methods. It waits until each of them has answered or failed, and longer while there is no value.
 *
 * @throws the first problem, if there is no value before the timeout or a call is refused for good.
 */
export async function followApi<T, Value>(
  address: EndpointAddress,
  methods: readonly StreamMethod<T>[],
  read: (latest: readonly (T | undefined)[], last: Value | undefined) => Reading<Value>,
  options: WorkloadApiOptions,
): Promise<Followed<Value>> {
  const { signal, timeoutMs = 30_000 } = options;
  const changes = new EventEmitter();
  let streams: readonly ApiStream<T>[] = [];
  const readNow = (last: Value | undefined): Reading<Value> => {
    const { value, problems } = read(
      streams.map(({ latest }) => latest),
      last,
    );
    const isWithheld = ({ latest, code }: ApiStream<T>) =>
      value !== undefined && latest === undefined && code !== undefined && withheld.has(code);
    const failed = streams.filter((stream) => !isWithheld(stream)).map(({ problem }) => problem);
    return { value, problems: [...failed.filter((problem) => problem !== undefined), ...problems] };
  };

  return follow(
    (onChange, ended) => {
      changes.on('change', onChange);
      streams = methods.map((method) => startStream(address, method, () => changes.emit('change'), ended));
    },
    async (last) => {
      if (last !== undefined) return readNow(last);
      const late = AbortSignal.timeout(timeoutMs);
      for (;;) {
        const reading = readNow(undefined);
        const isSettled = streams.every(({ latest, problem }) => latest !== undefined || problem);
        const isRefused = streams.some(({ code }) => code === grpcCodes.invalidArgument);
        if ((reading.value !== undefined && isSettled) || isRefused || signal?.aborted) return reading;
        if (late.aborted) {
          const none = apiError(`nothing at ${address.uri} has answered within ${timeoutMs} ms`);
          return { value: reading.value, problems: [...reading.problems, none] };
        }
        await once(changes, 'change', { signal: late }).catch(() => undefined);
      }
    },
    options,
  );
}
