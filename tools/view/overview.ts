import type { FederationReport } from '../federation/report.ts';
import { type BundleView, bundlesIn } from './bundles.ts';
import { type PoolPart, poolsIn } from './pools.ts';
import type { ClusterRead, Part } from './read.ts';
import { type WorkloadState, workloadStates } from './workload-states.ts';
import { type Workload, workloadsOf } from './workloads.ts';

/** How many pods each signer serves, by what they have from it. */
export interface SignerCounts {
  readonly signer: string;
  readonly counts: Readonly<Record<WorkloadState, number>>;
}

/** The whole installation on one screen. */
export interface Overview {
  readonly trustDomain: string;
  /** Where the settings were read. */
  readonly settings: string;
  /** RFC 3339, by the clock of the API server. */
  readonly at: string;
  readonly replicas: Part<readonly string[]>;
  readonly signers: readonly SignerCounts[];
  readonly pools: readonly PoolPart[];
  readonly bundles: readonly BundleView[];
  readonly peers: Part<readonly FederationReport[]>;
  /** Requests that are open, the oldest first. */
  readonly waiting: readonly Workload[];
  /** Pods whose request was denied, and pods that get no name. */
  readonly refused: readonly Workload[];
}

/** @param workloads of the cluster, where they are known already. Pure. */
export function overviewOf(read: ClusterRead, workloads = workloadsOf(read)): Overview {
  const { world, replicas, peers, bundles, now } = read;
  const bySigner = Map.groupBy(workloads, ({ signer }) => signer);
  return {
    trustDomain: world.settings.config.trustDomain,
    settings: world.settings.from,
    at: new Date(now * 1000).toISOString(),
    ...{ replicas, peers },
    signers: world.signers.map(({ profile: { signerName } }) => {
      const own = Map.groupBy(bySigner.get(signerName) ?? [], ({ state }) => state);
      const counts = workloadStates.map((state) => [state, own.get(state)?.length ?? 0]);
      return { signer: signerName, counts: Object.fromEntries(counts) };
    }),
    pools: poolsIn(read),
    bundles: bundlesIn(bundles),
    waiting: workloads
      .filter(({ state }) => state === 'waiting')
      .sort((one, other) => (one.requestedAt ?? '').localeCompare(other.requestedAt ?? '')),
    refused: workloads.filter(({ state }) => state === 'denied' || state === 'unnamed'),
  };
}
