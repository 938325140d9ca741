import { setTimeout as pause } from 'node:timers/promises';
import type { EndpointAddress } from '../client/endpoint-address.ts';
import { grpcCodes } from '../client/grpc.ts';
import { callFailed, openStream, type StreamMethod, unusable } from '../client/workload-api.ts';
import type { KubespiffeError } from '../spiffe/errors.ts';

/** A streaming method of the Workload API that is called again whenever the stream has ended. */
export interface ApiStream<T> {
  /** The newest response that can be used. */
  readonly latest: T | undefined;
  /** Why there is no newer one. */
  readonly problem: KubespiffeError | undefined;
  /** The gRPC status of the last call that ended without a response. */
  readonly code: number | undefined;
}

const firstRetryMs = 500;
const mostRetryMs = 10_000;

/**
 * Calls a method until the signal is aborted. A stream that breaks is opened again, and only a failure to do so is a problem,
 * since a server that restarts ends its streams. An InvalidArgument is final (SPIFFE Workload Endpoint 6). It keeps the process
 * alive until the first response.
 *
 * @param onChange is called after each change, and at the end.
 */
export function startStream<T>(
  address: EndpointAddress,
  method: StreamMethod<T>,
  onChange: () => void,
  signal: AbortSignal,
): ApiStream<T> {
  const state: { -readonly [Key in keyof ApiStream<T>]: ApiStream<T>[Key] } = {
    ...{ latest: undefined, problem: undefined, code: undefined },
  };

  /** @returns the status of the call where it gave no response. */
  const callOnce = async () => {
    let hasResponse = false;
    const call = openStream(
      address,
      method,
      (response) => {
        hasResponse = true;
        if (response.ok) state.latest = response.value;
        state.problem = response.ok ? undefined : unusable(address, method.name, response.reason);
        state.code = undefined;
        if (response.ok) call.unref();
        onChange();
      },
      signal,
    );
    if (state.latest !== undefined) call.unref();
    const status = await call.status;
    return hasResponse ? undefined : status;
  };

  const run = async () => {
    for (let retryMs = firstRetryMs; !signal.aborted; retryMs = Math.min(retryMs * 2, mostRetryMs)) {
      const status = await callOnce();
      if (signal.aborted) return;
      if (status) {
        state.problem = callFailed(address, method.name, status);
        state.code = status.code;
        onChange();
        if (status.code === grpcCodes.invalidArgument) return;
      } else {
        retryMs = firstRetryMs;
      }
      await pause(retryMs, undefined, { signal, ref: state.latest === undefined }).catch(() => undefined);
    }
  };
  void run().finally(onChange);
  return state;
}
