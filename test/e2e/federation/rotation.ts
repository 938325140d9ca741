import type { PoolDocument } from '../../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../../signer/authority/pool-secret.ts';
import { waitFor } from '../../cluster/process.ts';
import { isPatient } from '../clusters.ts';
import { caIds, heldBundle, refresh, type Side } from './pair.ts';
import { peer, rootsFile } from './peer.ts';

const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

async function readPool({ installation: { controlPlane } }: Side): Promise<PoolDocument> {
  return JSON.parse(poolJsonIn((await controlPlane.request('GET', poolPath)).body) ?? '');
}

/** Makes the next CA of a cluster, and publishes its root beside the one in use. */
export async function publishNext({ name, installation }: Side): Promise<void> {
  const { next } = caIds(name);
  await installation.kubespiffe('ca', 'prepare', '--ca-id', next);
  await installation.kubespiffe('ca', 'trust', next);
}

/**
 * Waits until the running workloads of both clusters have the root of a CA of one of them, or no longer have it.
 *
 * @param isAsked whether the other cluster is asked to fetch. Otherwise it fetches when the bundle is due, within 30 s.
 */
export async function rootArrives(
  own: Side,
  other: Side,
  id: string,
  { isThere = true, isAsked = true } = {},
): Promise<void> {
  const ca = (await readPool(own)).authorities.find((each) => each.id === id);
  const root = ca?.certificate?.trim();
  if (!root) throw new Error(`there is no CA ${id}`);
  const what = `the root of ${id} ${isThere ? 'to be in' : 'to leave'}`;
  const x5c = root.split('\n').slice(1, -1).join('');
  await waitFor(
    `${what} the bundle that ${other.name} has`,
    async () => {
      const bundle = isAsked ? (await refresh(other, own)).bundle : await heldBundle(other, own);
      return bundle.includes(x5c) === isThere;
    },
    { everyMs: 500 },
  );
  const arrives = (side: Side, file: string) =>
    waitFor(`${what} ${file} of ${side.name}`, async () => {
      const roots = await side.installation.node.readVolumeFile(peer, 'spiffe', file);
      return roots.includes(root) === isThere;
    });
  await Promise.all([arrives(own, 'roots.pem'), arrives(other, rootsFile(other, own))]);
}

/**
 * Lets the next CA sign. It has to be published for three refresh hints before. On the clusters of every run its readers have it
 * already, so it is recorded as published with the first one; `make test-all` waits.
 */
export async function activateNext(side: Side): Promise<void> {
  const { next } = caIds(side.name);
  if (isPatient) {
    const activate = () => side.installation.kubespiffe('ca', 'activate', next, '--propagation-delay', '3m');
    await waitFor(`the end of three refresh hints of ${side.name}`, () => activate().then(() => true), {
      ...{ timeoutMs: 240_000, everyMs: 5_000 },
    });
    return;
  }
  const pool = await readPool(side);
  const [first] = pool.authorities;
  const authorities = pool.authorities.map((each) =>
    each.id === next && first?.publishedAt ? { ...each, publishedAt: first.publishedAt } : each,
  );
  const data = serializePool({ ...pool, sequence: pool.sequence + 1, authorities });
  const { status } = await side.installation.controlPlane.request('PATCH', poolPath, { data });
  if (status !== 200) throw new Error(`the pool was not written: ${status}`);
  await side.installation.kubespiffe('ca', 'activate', next, '--propagation-delay', '0s');
}

/** Takes the first CA out of the bundles, although what it signed has not expired: all pods must have other certificates. */
export async function retireFirst({ name, installation }: Side): Promise<void> {
  const reason = 'every pod has another certificate';
  await installation.kubespiffe('ca', 'retire', caIds(name).first, '--force', '--reason', reason);
}
