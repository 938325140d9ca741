import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Transport } from '../kube/transport.ts';
import type { Namespace } from '../kube/types.ts';
import { bundleLabelKeys } from './labels.ts';
import {
  type DesiredRoots,
  type ObservedConfigMap,
  optInLabel,
  rootsKey,
  toOptedIn,
} from './roots-configmap.ts';
import { createOnly, fieldManager } from './trust-bundle-publisher.ts';

/**
 * The calls that change the ConfigMap of a namespace. They throw ApiStatusError and ApiConnectionError.
 *
 * @param name of the ConfigMap, the same in every namespace.
 */
export function createConfigMapWriter(transport: Transport, name: string) {
  const pathOf = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
  const call = { resource: 'configmaps', discardBody: true } as const;

  return {
    /**
     * Writes the roots. `known`: our ConfigMap as the watch showed it before the pool was read, or undefined. What was
     * published since then is not overwritten.
     */
    async publish(
      namespace: string,
      { labels, pem, peers }: DesiredRoots,
      known: ObservedConfigMap | undefined,
      signal: AbortSignal,
    ): Promise<void> {
      await transport.request({
        ...call,
        method: 'PATCH',
        path: pathOf(namespace),
        // An observed ConfigMap is ours, and is corrected. One that was not observed may have just been created, by
        // another replica or by the owner of the namespace, and is not changed.
        query: { fieldManager, force: 'true' },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: {
            name,
            namespace,
            labels,
            ...(known
              ? { uid: known.uid, resourceVersion: known.resourceVersion }
              : { resourceVersion: createOnly }),
          },
          data: { [rootsKey]: pem, ...peers },
        },
        signal,
      });
    },

    /** Deletes our ConfigMap, or removes only our keys if it has others. */
    async withdraw(namespace: string, known: ObservedConfigMap, signal: AbortSignal): Promise<void> {
      const { uid, resourceVersion, holdsMore, peerKeys } = known;
      const preconditions = { uid, resourceVersion };
      if (!holdsMore) {
        const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
        await transport.request({ ...call, method: 'DELETE', path: pathOf(namespace), body, signal });
        return;
      }
      // By name, not by field ownership: if a ConfigMap was handed over to us, its creator owns the label.
      const labels = Object.fromEntries(bundleLabelKeys.map((key) => [key, null]));
      const data = Object.fromEntries([rootsKey, ...peerKeys].map((key) => [key, null]));
      const body = { metadata: { ...preconditions, labels }, data };
      const query = { fieldManager };
      await transport.request({ ...call, method: 'PATCH', path: pathOf(namespace), query, body, signal });
    },

    /** Whether a namespace exists without the label, read live: the watch may lag, and a deletion cannot be undone. */
    async hasOptedOut(namespace: string, signal: AbortSignal): Promise<boolean> {
      try {
        const { body } = await transport.request<Namespace>({
          method: 'GET',
          path: `/api/v1/namespaces/${namespace}`,
          resource: 'namespaces',
          signal,
        });
        return body.metadata.labels?.[optInLabel.key] !== optInLabel.value && !toOptedIn(body).isTerminating;
      } catch (error) {
        if (isNotFoundOfObject(error)) return false;
        throw error;
      }
    },
  };
}
