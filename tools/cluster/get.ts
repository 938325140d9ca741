import { isNotFoundOfObject } from '../../signer/kube/api-error.ts';
import { resourcePath } from '../../signer/kube/resources.ts';
import type { Transport } from '../../signer/kube/transport.ts';

/** An object of the Kubernetes API. */
export interface ObjectPlace {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name: string;
}

/** @returns undefined when there is no such object. */
export async function get<T>(api: Transport, place: ObjectPlace): Promise<T | undefined> {
  const { group, version, resource, namespace, name } = place;
  const folder = resourcePath({ group, versions: [version], name: resource }, version, namespace);
  const path = `${folder}/${encodeURIComponent(name)}`;
  try {
    return (await api.request<T>({ method: 'GET', path, resource })).body;
  } catch (error) {
    if (isNotFoundOfObject(error)) return undefined;
    throw error;
  }
}
