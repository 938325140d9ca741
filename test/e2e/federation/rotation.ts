import type { PoolDocument } from '../../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../../signer/authority/pool-secret.ts';
import { waitFor } from '../../cluster/process.ts';
import { refresh, type Side } from './pair.ts';
import { peer } from './peer.ts';

const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
export const next = 'second';

/** Makes the next CA of a cluster, and publishes its root beside the one in use. */
export async function publishNext({ installation }: Side): Promise<void> {
  await installation.kubespiffe('ca', 'prepare', '--ca-id', next);
  await installation.kubespiffe('ca', 'trust', next);
}

/** Waits until the running workloads of both clusters have so many roots of one of them. */
export async function rootsArrive(own: Side, other: Side, count: number): Promise<void> {
  const rootsIn = async ({ installation: { node } }: Side, file: string) =>
    (await node.readVolumeFile(peer, 'spiffe', file)).split('BEGIN').length - 1;
  await waitFor(`${count} roots of ${own.name}`, async () => {
    return (await rootsIn(own, 'roots.pem')) === count;
  });
  await refresh(other, own);
  await waitFor(`${count} roots of ${own.name} in ${other.name}`, async () => {
    return (await rootsIn(other, 'partner.pem')) === count;
  });
}

/**
 * Lets the next CA sign from now on. It would have to be published for three refresh hints: here its readers have it already, so
 * it is written down as published with the first one.
 */
export async function activateNext({ installation }: Side): Promise<void> {
  const { request } = installation.controlPlane;
  const pool: PoolDocument = JSON.parse(poolJsonIn((await request('GET', poolPath)).body) ?? '');
  const [first] = pool.authorities;
  const authorities = pool.authorities.map((each) =>
    each.id === next && first?.publishedAt ? { ...each, publishedAt: first.publishedAt } : each,
  );
  const { status } = await request('PATCH', poolPath, {
    data: serializePool({ ...pool, sequence: pool.sequence + 1, authorities }),
  });
  if (status !== 200) throw new Error(`the pool was not written: ${status}`);
  await installation.kubespiffe('ca', 'activate', next, '--propagation-delay', '0s');
}

/** Takes the first CA out of the bundles, although what it signed has not expired: all pods must have other certificates. */
export async function retireFirst({ installation }: Side): Promise<void> {
  await installation.kubespiffe('ca', 'retire', 'first', '--force');
}
