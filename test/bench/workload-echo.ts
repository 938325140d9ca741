// A bare gRPC server of the library that the Workload API has: a process of its own that sends prepared bytes.
import '../../tools/small-process.ts';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { serveCalls } from './worker.ts';

const asIs = (bytes: Buffer) => bytes;

const calls = {
  /** Answers each call of a method with these bytes. */
  listen: ({ socket, path, bytes }: { socket: string; path: string; bytes: Uint8Array }): Promise<void> => {
    const server = new Server();
    const method = {
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    server.addService(
      { Fetch: { ...method, path, requestStream: false, responseStream: true } },
      { Fetch: (call: ServerWritableStream<Buffer, Buffer>) => void call.write(Buffer.from(bytes)) },
    );
    return new Promise((resolve, reject) => {
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
  },
};
export type EchoCalls = typeof calls;

serveCalls(calls);
