import type { EventEmitter } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import type {
  Metadata,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
} from '@grpc/grpc-js';
// The whole package has clients, resolvers and load balancers, at a cost of 4 MB.
import { Server } from '@grpc/grpc-js/build/src/server.js';
import { loadSync } from '@grpc/proto-loader';
import type { KubespiffeError } from '../../spiffe/errors.ts';
import {
  type Answer,
  fetchJwtSvid,
  jwtBundlesResponse,
  validateJwtSvid,
  x509BundlesResponse,
  x509SvidResponse,
} from './methods.ts';
import { type Refusal, refusals } from './refusal.ts';
import { createSecretDiscovery } from './sds.ts';
import type { WorkloadSource, WorkloadState } from './state.ts';
import { createStreams } from './streams.ts';

export interface WorkloadApiNeeds {
  readonly source: WorkloadSource;
  readonly onProblem?: (problem: KubespiffeError) => void;
  /** Streams that may be open at the same time. */
  readonly maxStreams?: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

type StreamingCall = EventEmitter & { readonly metadata: Metadata; getPeer(): string };

/** Envoy lists its extensions in the first request of a stream, which are 61 KB in version 1.40. */
const maxRequestBytes = 256 * 1024;
/** A client library opens a stream for each method. More of one connection wait until others end. */
const maxStreamsOfConnection = 128;

/**
 * The SPIFFE Workload API of one workload (SPIFFE Workload API 3 to 6, both profiles). Every client that can connect is
 * that workload: the socket is put into the pod by its author, and is shared by its containers alone.
 */
export function createWorkloadApi(needs: WorkloadApiNeeds): Server {
  const { source, onProblem = () => undefined, maxStreams = 4_096, now = Date.now } = needs;
  const server = withoutResetStreams(
    new Server({
      'grpc.max_receive_message_length': maxRequestBytes,
      'grpc.max_concurrent_streams': maxStreamsOfConnection,
    }),
  );
  let open = 0;

  /** Serves a stream if it has the header and is not one too many. */
  function counted<Call extends StreamingCall>(
    serve: (call: Call) => void,
    isHeaderNeeded: (call: StreamingCall) => boolean = () => true,
  ) {
    return (call: Call) => {
      const refusal =
        (isHeaderNeeded(call) ? refusalOf(call.metadata) : undefined) ??
        (open >= maxStreams ? refusals.tooManyStreams : undefined);
      if (refusal) return void call.emit('error', refusal);
      open += 1;
      call.once('close', () => {
        open -= 1;
      });
      serve(call);
    };
  }

  const stream = (respond: (state: WorkloadState) => Answer<Buffer>) =>
    counted<ServerWritableStream<unknown, Buffer>>(createStreams(source, respond));

  function unary<Request>(answerTo: (request: Request) => Promise<Answer<object>> | Answer<object>) {
    return async (call: ServerUnaryCall<Request, object>, done: sendUnaryData<object>) => {
      const refusal = refusalOf(call.metadata);
      if (refusal) return done(refusal);
      const answer = await answerTo(call.request);
      if (answer.ok) done(null, answer.value);
      else done(answer.refusal);
    };
  }

  const { service, encoded } = readService();
  server.addService(service, {
    FetchX509SVID: stream((state) => encoded('FetchX509SVID', x509SvidResponse(state))),
    FetchX509Bundles: stream((state) => encoded('FetchX509Bundles', x509BundlesResponse(state))),
    FetchJWTBundles: stream((state) => encoded('FetchJWTBundles', jwtBundlesResponse(state))),
    FetchJWTSVID: unary((request: Parameters<typeof fetchJwtSvid>[0]) => fetchJwtSvid(request, source)),
    ValidateJWTSVID: unary((request: Parameters<typeof validateJwtSvid>[0]) =>
      validateJwtSvid(request, source.current(), Math.floor(now() / 1000)),
    ),
  });
  const sds = createSecretDiscovery({ source, onProblem });
  server.addService(sds.service, {
    StreamSecrets: counted(sds.streamSecrets, isOverTcp),
    DeltaSecrets: counted(sds.deltaSecrets, isOverTcp),
  });
  return server;
}

/**
 * grpc-js 1.14 answers an unknown method or content type also where the client has reset the stream already. Node throws
 * then, and the process would end.
 */
function withoutResetStreams(server: Server): Server {
  type Handle = (interceptors: unknown, stream: ServerHttp2Stream, headers: unknown) => void;
  const internal = server as unknown as { _channelzHandler: Handle };
  const handle = internal._channelzHandler;
  internal._channelzHandler = (interceptors, stream, headers) => {
    if (stream.destroyed) stream.on('error', () => undefined);
    else handle.call(server, interceptors, stream, headers);
  };
  return server;
}

/** The service as the .proto file has it, except that streams take responses that are encoded already. */
function readService() {
  const options = { keepCase: true, defaults: true, longs: Number, enums: String };
  const loaded = loadSync(join(import.meta.dirname, 'workload-api.proto'), options);
  const declared = loaded.SpiffeWorkloadAPI as ServiceDefinition;
  const service = Object.fromEntries(
    Object.entries(declared).map(([name, method]) => [
      name,
      method.responseStream ? { ...method, responseSerialize: (bytes: Buffer) => bytes } : method,
    ]),
  );
  const encoded = (name: string, answer: Answer<object>): Answer<Buffer> =>
    answer.ok
      ? { ok: true, value: (declared[name] as ServiceDefinition[string]).responseSerialize(answer.value) }
      : answer;
  return { service, encoded };
}

/**
 * Envoy sends the header if its configuration says so, and configurations for other servers do not. An HTTP client that
 * was tricked into connecting reaches a port, but not a Unix socket, which has no address.
 */
const isOverTcp = (call: StreamingCall): boolean => call.getPeer() !== 'unknown';

/** It keeps web pages and other HTTP clients that were tricked into connecting away (SPIFFE Workload Endpoint 3). */
function refusalOf(metadata: Metadata): Refusal | undefined {
  const values = metadata.get('workload.spiffe.io');
  return values.length === 1 && values[0] === 'true' ? undefined : refusals.headerMissing;
}
