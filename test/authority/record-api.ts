import { ApiConnectionError, ApiStatusError } from '../../signer/kube/api-error.ts';
import type { ApiRequest, Transport } from '../../signer/kube/transport.ts';

/** What becomes of a call: `lost` is done, and its answer does not arrive. */
export type Fate = 'through' | 'lost' | 'refused';

/** An API server that has one ConfigMap: its versions and conflicts are those of the real one (pool-record.test.ts). */
export function createRecordApi(pass: (call: () => unknown) => Promise<unknown> = async (call) => call()) {
  const api = {
    /** Undefined where there is no ConfigMap. */
    data: undefined as Record<string, string> | undefined,
    calls: [] as string[],
    fate: (): Fate => 'through',
    transport: undefined as unknown as Transport,
  };
  let version = 0;

  function answer({ method, path, contentType, body }: ApiRequest): unknown {
    const refuse = (status: number) =>
      new ApiStatusError(
        { method, path },
        { status, body: { details: { name: 'record' } }, retryAfterMs: undefined },
      );
    api.calls.push(contentType?.includes('apply') ? 'APPLY' : method);
    const fate = api.fate();
    if (fate === 'refused') throw refuse(500);
    if (method === 'PATCH') {
      const { data, metadata } = body as {
        data?: Record<string, string>;
        metadata: { resourceVersion?: string };
      };
      if (contentType?.includes('apply')) {
        if (!api.data) version += 1;
        api.data ??= {};
      } else if (!api.data) throw refuse(404);
      else if (metadata.resourceVersion !== String(version)) throw refuse(409);
      else {
        version += 1;
        api.data = { ...api.data, ...data };
      }
    }
    if (fate === 'lost') throw new ApiConnectionError('broken', 'the connection broke');
    if (!api.data) throw refuse(404);
    return { data: { ...api.data }, metadata: { name: 'record', resourceVersion: String(version) } };
  }

  const request = async (call: ApiRequest) => ({ status: 200, body: await pass(() => answer(call)) });
  api.transport = { request } as unknown as Transport;
  return {
    ...{ api },
    /** As after a deletion. */
    wipe() {
      api.data = undefined;
      version += 1;
    },
  };
}
