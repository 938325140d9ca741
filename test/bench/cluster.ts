import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import type { Place } from './place.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

/** etcd and an API server with what the signer needs, and a place for the load. */
export interface BenchCluster {
  readonly controlPlane: ControlPlane;
  readonly place: Place;
  /** The signer's own ServiceAccount, with the RBAC that we ship. */
  readonly signerKubeconfig: string;
  readonly pool: string;
}

/**
 * The load comes from one node that speaks for all pods. A kubelet's requests would cost the API server a little more
 * (NodeRestriction), in the ceiling runs as in ours.
 */
const manifests = ['namespace', 'service-account', 'rbac', 'admission-policy', 'flow-control'];

export async function startBenchCluster(report: (line: string) => void): Promise<BenchCluster> {
  // ServiceAccount tokens with RS256, as most clusters have them.
  const controlPlane = await startControlPlane({ controllers: false, tokenAlgorithm: 'RS256', report });
  for (const file of manifests)
    await controlPlane.kubectl(['apply', '-f', join(root, `manifests/base/${file}.yaml`)]);
  await createPool(controlPlane);
  const place = await makePlace(controlPlane);
  const signerKubeconfig = await controlPlane.kubeconfigFor({
    namespace: 'kubespiffe',
    name: 'kubespiffe-signer',
  });
  return { controlPlane, place, signerKubeconfig, pool: 'kubespiffe/kubespiffe-pool' };
}

/** The pool as users make it. */
async function createPool(controlPlane: ControlPlane): Promise<void> {
  const flags = [
    ['--kubeconfig', controlPlane.kubeconfig],
    ['--namespace', 'kubespiffe'],
    ['--name', 'kubespiffe-pool'],
    ['--ca-id', 'bench-1'],
    ['--trust-domain', 'example.org'],
  ];
  await run(join(root, 'bin/kubespiffe'), ['ca', 'create', ...flags.flat()]);
}

/** A namespace, its ServiceAccount (there is no controller that makes one) and a node that runs nothing. */
export async function makePlace(controlPlane: ControlPlane, namespace = 'bench'): Promise<Place> {
  const create = async (path: string, name: string) => {
    const { status, body } = await controlPlane.request('POST', path, { metadata: { name } });
    if (status !== 201 && status !== 409) throw new Error(`POST ${path}: ${JSON.stringify(body)}`);
    const { body: stored } = await controlPlane.request('GET', `${path}/${name}`);
    return { name, uid: stored.metadata.uid as string };
  };
  await create('/api/v1/namespaces', namespace);
  const serviceAccount = await waitFor('the ServiceAccount of the load', () =>
    create(`/api/v1/namespaces/${namespace}/serviceaccounts`, 'default'),
  );
  const node = await create('/api/v1/nodes', 'bench-node');
  return { namespace, serviceAccount, node };
}
