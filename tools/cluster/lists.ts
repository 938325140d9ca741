import { isPlain404 } from '../../signer/kube/api-error.ts';
import type { Informer, InformerSpec } from '../../signer/kube/informer.ts';
import { listAll } from '../../signer/kube/list-watch.ts';
import { createPageSize } from '../../signer/kube/page-size.ts';
import { resourcePath } from '../../signer/kube/resources.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Transport } from '../../signer/kube/transport.ts';

/** A resource as it is at this moment. It stands where a signer has an informer. */
export interface Listed<T, Version extends string = string> extends Informer<T, Version> {
  /** Reads all of it. Without a namespace: of all namespaces. */
  fill(api: Transport, namespace?: string): Promise<void>;
  /** What the store keeps of an object as a file or the API server has it; undefined where that is nothing. */
  project(wire: unknown): T | undefined;
}

/** Resources that belong to no namespace. */
const clusterScoped = new Set([
  ...['namespaces', 'clustertrustbundles', 'clusterworkloadregistrations', 'clusterregistrationpolicies'],
  'federatedtrustdomains',
]);

export function createListed<Wire, T, Version extends string = string>(
  spec: InformerSpec<Wire, T, Version>,
): Listed<T, Version> {
  const { resource, fields, indexes, project } = spec;
  const store = createStore<T>({ time: realTime, ...(indexes && { indexes }) });
  let served: Version | undefined;

  async function fill(api: Transport, namespace?: string): Promise<void> {
    const place = spec.namespace ?? (clusterScoped.has(resource.name) ? undefined : namespace);
    const fieldSelector = spec.name === undefined ? spec.fieldSelector : `metadata.name=${spec.name}`;
    for (const version of resource.versions) {
      const query = {
        ...(fieldSelector !== undefined && { fieldSelector }),
        ...(spec.labelSelector !== undefined && { labelSelector: spec.labelSelector }),
      };
      const followed = {
        transport: api,
        store,
        fields,
        project: (wire: unknown) => project(wire as Wire, version),
        log: { warn: () => undefined },
        resource: resource.name,
      };
      try {
        const at = { path: resourcePath(resource, version, place), query };
        const { objects } = await listAll(followed, at, createPageSize(), new AbortController().signal);
        served = version;
        store.replace(objects);
        return;
      } catch (error) {
        if (!isPlain404(error)) throw error;
      }
    }
    store.replace([]);
  }

  const isMissing = () => store.isSynced() && served === undefined;
  return {
    spec,
    store,
    synced: store.synced,
    versions: () => (served === undefined ? [] : [served]),
    isMissing,
    isUnlisted: isMissing,
    run: async () => undefined,
    fill,
    project: (wire) => project(wire as Wire, served ?? resource.versions[0]),
  };
}
