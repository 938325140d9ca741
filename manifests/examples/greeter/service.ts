import { join } from 'node:path';
import {
  type ChannelCredentials,
  type GrpcObject,
  loadPackageDefinition,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { connectX509Source } from 'kubespiffe/workload-api';
import { openX509Source, type X509Source } from 'kubespiffe/x509-source';

export interface HelloRequest {
  readonly name: string;
}

export interface HelloReply {
  readonly message: string;
}

interface GreeterClient {
  SayHello(
    request: HelloRequest,
    options: { readonly deadline: number },
    done: (error: Error | null, reply?: HelloReply) => void,
  ): void;
}

const { helloworld } = loadPackageDefinition(loadSync(join(import.meta.dirname, 'greeter.proto')));

/** The service and its client, as greeter.proto declares them. */
export const Greeter = (helloworld as GrpcObject).Greeter as unknown as {
  readonly service: ServiceDefinition;
  new (address: string, credentials: ChannelCredentials): GreeterClient;
};

/**
 * The identity of this process: from the Workload API where SPIFFE_ENDPOINT_SOCKET is set, else from files. A renewal is logged,
 * and used for every connection from then on.
 */
export async function openIdentity(): Promise<X509Source> {
  const { SPIFFE_ENDPOINT_SOCKET, SPIFFE_CREDENTIALS = '/run/spiffe' } = process.env;
  const source = await (SPIFFE_ENDPOINT_SOCKET
    ? connectX509Source(SPIFFE_ENDPOINT_SOCKET)
    : openX509Source(SPIFFE_CREDENTIALS));
  const report = (what: string) => {
    const { id, notAfter } = source.svid;
    console.log(`${what} ${id.uri}, valid until ${new Date(notAfter * 1000).toISOString()}`);
  };
  source.events.on('update', () => report('renewed:'));
  source.events.on('problem', (problem) => console.error(problem.message));
  report('started:');
  return source;
}
