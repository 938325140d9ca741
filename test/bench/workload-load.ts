// The load on a Workload API: clients of @grpc/grpc-js in a process of their own. Responses stay bytes, as reading them
// is the work of clients.
import { once } from 'node:events';
import { Client, type ClientReadableStream, credentials, Metadata } from '@grpc/grpc-js';
import { percentile } from './statistics.ts';
import { serveCalls } from './worker.ts';
import { tokenRequest } from './workload-request.ts';

/** What a run of the load measured; times in milliseconds. */
export interface WorkloadLoadResult {
  readonly count: number;
  readonly tookMs: number;
  readonly p50: number;
  readonly p99: number;
}

/** A streaming method of the Workload API, or of the server beside it. */
export interface Method {
  readonly uri: string;
  readonly path: string;
  /** The encoded request. */
  readonly request: Uint8Array;
  /** In place of `request`, each call asks for a token of another audience. */
  readonly isEachAudienceNew?: true;
}

let audiences = 0;
const requestOf = ({ request, isEachAudienceNew }: Method) =>
  isEachAudienceNew ? tokenRequest(`https://audience-${++audiences}.example.org`) : request;

/** Node ends a connection whose client cancels more than 1000 streams in a short time (CVE-2023-44487). */
const callsOfConnection = 500;

const asIs = (bytes: Buffer) => bytes;
const metadata = new Metadata();
metadata.set('workload.spiffe.io', 'true');

const connect = (uri: string) =>
  new Client(uri, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
  });

function openStream(client: Client, path: string, request: Uint8Array): ClientReadableStream<Buffer> {
  return client.makeServerStreamRequest(path, asIs, asIs, Buffer.from(request), metadata);
}

/** The first message of a stream, which is then cancelled. */
async function first(client: Client, path: string, request: Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stream = openStream(client, path, request);
  // The error is the cancellation that follows the message.
  stream.on('error', reject).once('data', () => {
    resolve();
    stream.cancel();
  });
  await promise;
}

/** Streams that stay open, each over a connection of its own, as those of many programs. */
let open: { readonly client: Client; readonly stream: ClientReadableStream<Buffer> }[] = [];

const calls = {
  /** Calls, `parallel` at the same time over as many connections, until the time is over. */
  run: async ({
    method,
    seconds,
    parallel,
  }: {
    method: Method;
    seconds: number;
    parallel: number;
  }): Promise<WorkloadLoadResult> => {
    const latencies: number[] = [];
    const startedAt = performance.now();
    const until = startedAt + seconds * 1000;
    const work = async () => {
      while (performance.now() < until) {
        const client = connect(method.uri);
        for (let left = callsOfConnection; left > 0 && performance.now() < until; left -= 1) {
          const sentAt = performance.now();
          await first(client, method.path, requestOf(method));
          latencies.push(performance.now() - sentAt);
        }
        client.close();
      }
    };
    await Promise.all(Array.from({ length: parallel }, work));
    return {
      count: latencies.length,
      tookMs: performance.now() - startedAt,
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99),
    };
  },
  firstMessage: async ({ uri, path, request }: Method): Promise<{ bytes: Uint8Array }> => {
    const client = connect(uri);
    const stream = openStream(client, path, request);
    stream.on('error', () => undefined);
    const [bytes] = (await once(stream, 'data')) as [Uint8Array];
    client.close();
    return { bytes };
  },
  /** Opens streams, each over its own connection, until each has its first message. */
  openStreams: async ({ method, count }: { method: Method; count: number }): Promise<void> => {
    for (let left = count; left > 0; left -= 50) {
      const some = Array.from({ length: Math.min(left, 50) }, () => {
        const client = connect(method.uri);
        const stream = openStream(client, method.path, method.request);
        stream.on('error', () => undefined);
        return { client, stream };
      });
      await Promise.all(some.map(({ stream }) => once(stream, 'data')));
      open.push(...some);
    }
  },
  /** Resolves when each open stream has had another message. */
  nextMessages: async (_: undefined): Promise<void> => {
    await Promise.all(open.map(({ stream }) => once(stream, 'data')));
  },
  closeStreams: (_: undefined): void => {
    for (const { client, stream } of open) {
      stream.cancel();
      client.close();
    }
    open = [];
  },
};
export type WorkloadLoadCalls = typeof calls;

serveCalls(calls);
