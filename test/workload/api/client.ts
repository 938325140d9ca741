import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  type status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { parseEndpointAddress } from '../../../client/endpoint-address.ts';
import { listen } from '../../../workload/api/listen.ts';
import { createWorkloadApi, type WorkloadApiNeeds } from '../../../workload/api/server.ts';

export type Method =
  | 'FetchX509SVID'
  | 'FetchX509Bundles'
  | 'FetchJWTSVID'
  | 'FetchJWTBundles'
  | 'ValidateJWTSVID';
const streams = new Set<Method>(['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTBundles']);

const proto = loadSync(join(import.meta.dirname, '../../../workload/api/workload-api.proto'), {
  keepCase: true,
  defaults: true,
});
export const { SpiffeWorkloadAPI: ApiClient } = loadPackageDefinition(proto) as unknown as {
  SpiffeWorkloadAPI: new (
    address: string,
    secret: unknown,
  ) => Client & Record<Method, (...words: unknown[]) => never>;
};

export const header = (value: string | undefined = 'true') => {
  const metadata = new Metadata();
  if (value !== undefined) metadata.set('workload.spiffe.io', value);
  return metadata;
};

export interface Served extends AsyncDisposable {
  readonly uri: string;
  readonly client: InstanceType<typeof ApiClient>;
}

/** Serves a Workload API, on a Unix socket in a folder of its own unless an address is given. */
export async function serve(needs: WorkloadApiNeeds, at?: string): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'workload-api-'));
  const uri = at ?? `unix://${join(folder, 'api.sock')}`;
  const address = parseEndpointAddress(uri);
  if (!address.ok) throw new Error(address.reason);
  const stopping = new AbortController();
  await listen(createWorkloadApi(needs), address.value, stopping.signal);
  const client = new ApiClient(uri.replace('tcp://', ''), credentials.createInsecure());
  return {
    uri,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      stopping.abort();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The first answer of a method, or the status that it ends with. */
export async function ask(
  client: InstanceType<typeof ApiClient>,
  method: Method,
  request: object = {},
  metadata = header(),
): Promise<{ answer: Record<string, unknown> } | { code: status; details: string }> {
  const { promise, resolve } = Promise.withResolvers<
    { answer: Record<string, unknown> } | { code: status; details: string }
  >();
  const refused = ({ code, details }: ServiceError) => resolve({ code, details });
  if (streams.has(method)) {
    const call = client[method](request, metadata) as unknown as NodeJS.ReadableStream & { cancel(): void };
    call.on('error', refused as (error: Error) => void);
    call.once('data', (answer) => {
      resolve({ answer });
      call.cancel();
    });
  } else {
    client[method](request, metadata, (error: ServiceError | null, answer: Record<string, unknown>) =>
      error ? refused(error) : resolve({ answer }),
    );
  }
  return promise;
}
