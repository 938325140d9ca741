import type { ApiClient } from './api-client.ts';
import { inParallel } from './generator.ts';
import type { Place } from './place.ts';
import { podObject } from './pod.ts';

/** A pod that ServiceAccount tokens are bound to. */
export interface TokenOwner {
  readonly name: string;
  readonly uid: string;
}

const writers = 32;

export async function createOwners(api: ApiClient, place: Place, count: number): Promise<TokenOwner[]> {
  const path = `/api/v1/namespaces/${place.namespace}/pods`;
  const owners: TokenOwner[] = [];
  const names = Array.from({ length: count }, (_, index) => `pod-${String(index).padStart(5, '0')}`);
  await inParallel(names, writers, async (name) => {
    const { status, body } = await api.send('POST', path, JSON.stringify(podObject(name, place)));
    if (status !== 201) throw new Error(`POST ${path}: ${status} ${body}`);
    owners.push({ name, uid: JSON.parse(body).metadata.uid });
  });
  return owners;
}

/** ServiceAccount tokens as kubelets ask for them, for the owners in turn; no two are the same. */
export async function makeTokens(
  api: ApiClient,
  place: Place,
  wanted: { owners: readonly TokenOwner[]; audience: string; count: number },
): Promise<string[]> {
  const { owners, audience, count } = wanted;
  const path = `/api/v1/namespaces/${place.namespace}/serviceaccounts/${place.serviceAccount.name}/token`;
  const tokens: string[] = [];
  const pods = Array.from({ length: count }, (_, index) => owners[index % owners.length]);
  await inParallel(pods, writers, async (pod) => {
    const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', ...pod };
    const spec = { audiences: [audience], expirationSeconds: 3600, boundObjectRef };
    const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec });
    const answer = await api.send('POST', path, body);
    if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${answer.body}`);
    tokens.push(JSON.parse(answer.body).status.token);
  });
  return tokens;
}
