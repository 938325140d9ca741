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
import { fieldManager } from './trust-bundle-publisher.ts';

/** The calls that change the ConfigMap of a namespace. They throw ApiStatusError and ApiConnectionError. */
export interface ConfigMapWriter {
  /**
   * Puts the roots there. `known`: what our watch showed of ours before the pool was read, undefined for nothing; what
   * was published since is not overwritten.
   */
  publish(
    namespace: string,
    roots: DesiredRoots,
    known: ObservedConfigMap | undefined,
    signal: AbortSignal,
  ): Promise<void>;
  /** Deletes what we have made, or removes only our keys if it has others. */
  withdraw(namespace: string, known: ObservedConfigMap, signal: AbortSignal): Promise<void>;
  /** Whether a namespace is there without the label: the watch may be behind, and a deletion is not taken back. */
  hasOptedOut(namespace: string, signal: AbortSignal): Promise<boolean>;
}

/** @param name of the ConfigMap, the same in every namespace. */
export function createConfigMapWriter(transport: Transport, name: string): ConfigMapWriter {
  const pathOf = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
  const call = { resource: 'configmaps', discardBody: true } as const;

  return {
    async publish(namespace, { labels, pem }, known, signal) {
      await transport.request({
        ...call,
        method: 'PATCH',
        path: pathOf(namespace),
        // What is there is ours, and made right by force. Where nothing was seen, something may have come just now:
        // without force, the API server refuses to change a key or a label that another manager has set.
        query: { fieldManager, force: String(known !== undefined) },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: {
            name,
            namespace,
            labels,
            ...(known && { uid: known.uid, resourceVersion: known.resourceVersion }),
          },
          data: { [rootsKey]: pem },
        },
        signal,
      });
    },

    async withdraw(namespace, { uid, resourceVersion, holdsMore }, signal) {
      const preconditions = { uid, resourceVersion };
      if (!holdsMore) {
        const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
        await transport.request({ ...call, method: 'DELETE', path: pathOf(namespace), body, signal });
        return;
      }
      // By name and not by ownership: the label of a ConfigMap that was handed over belongs to its creator.
      const labels = Object.fromEntries(bundleLabelKeys.map((key) => [key, null]));
      const body = { metadata: { ...preconditions, labels }, data: { [rootsKey]: null } };
      const query = { fieldManager };
      await transport.request({ ...call, method: 'PATCH', path: pathOf(namespace), query, body, signal });
    },

    async hasOptedOut(namespace, signal) {
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
