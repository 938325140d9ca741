import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { newPoolSecret } from '../../signer/authority/pool-secret.ts';
import type { ObjectMeta } from '../../signer/kube/types.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { bundleName } from '../../signer/trust/bundle.ts';

export interface StoredObject {
  metadata: Partial<ObjectMeta>;
  data?: Record<string, string>;
  [field: string]: unknown;
}

/** An API server of a few objects, over plain HTTP as `kubectl proxy`. It checks nothing. */
export interface StoredApi extends AsyncDisposable {
  readonly url: string;
  /** By the path. What is missing is answered with 404. */
  readonly objects: Map<string, StoredObject>;
  /** `METHOD path` of each request. */
  readonly calls: string[];
  /** Is called before a request is answered. */
  onCall: (call: string) => void;
  /** The clock of the server, in seconds since the epoch. */
  now: number;
}

export async function startApi(objects: Readonly<Record<string, StoredObject>>): Promise<StoredApi> {
  const server = createServer(async (request, response) => {
    const path = (request.url ?? '').replace(/\?.*/, '');
    const call = `${request.method} ${path}`;
    api.calls.push(call);
    api.onCall(call);
    if (request.method !== 'GET') {
      const { metadata, ...fields } = (await json(request)) as StoredObject;
      const before = api.objects.get(path);
      const resourceVersion = String(Number(before?.metadata.resourceVersion ?? 0) + 1);
      api.objects.set(path, {
        ...before,
        ...fields,
        metadata: { ...before?.metadata, ...metadata, resourceVersion },
      });
    }
    const found = api.objects.get(path);
    const name = path.slice(path.lastIndexOf('/') + 1);
    const missing = { kind: 'Status', status: 'Failure', code: 404, reason: 'NotFound', details: { name } };
    response.writeHead(found ? 200 : 404, {
      'content-type': 'application/json',
      date: new Date(api.now * 1_000).toUTCString(),
    });
    response.end(JSON.stringify(found ?? missing));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const api: StoredApi = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects: new Map(Object.entries(objects)),
    calls: [],
    onCall: () => undefined,
    now: Math.floor(Date.now() / 1_000),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return api;
}

export const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

/** The Secret of a pool, and the live bundle that shows all of its roots. */
export function poolObjects(
  trustDomain: string,
  ...authorities: readonly AuthorityRecord[]
): Record<string, StoredObject> {
  const secret = newPoolSecret(
    { namespace: 'kubespiffe', name: 'kubespiffe-pool' },
    newPool(trustDomain, ...authorities),
  );
  const { signerName } = spiffe;
  const bundle = {
    metadata: { name: bundleName(signerName, 'roots', 'live'), resourceVersion: '1' },
    spec: { signerName, trustBundle: authorities.map(({ certificate }) => certificate).join('') },
  };
  return {
    [poolPath]: {
      ...secret,
      metadata: { ...secret.metadata, uid: `pool-of-${trustDomain}`, resourceVersion: '1' },
    },
    '/apis/certificates.k8s.io/v1/clustertrustbundles': { metadata: {}, items: [bundle] },
  };
}

/** A kubeconfig with a context for each server, of which one is current. It has no users. */
export function writeContexts(
  file: string,
  servers: Readonly<Record<string, StoredApi>>,
  current: string,
): void {
  const names = Object.keys(servers);
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': current,
    clusters: names.map((name) => ({ name, cluster: { server: servers[name]?.url } })),
    contexts: names.map((name) => ({ name, context: { cluster: name } })),
  };
  writeFileSync(file, JSON.stringify(kubeconfig));
}
