import type { Transport } from '../../signer/kube/transport.ts';
import { serverClock } from '../api.ts';
import type { SettingsOptions } from '../cluster/signer-settings.ts';
import { explainWholePod, type PodExplanation } from '../explain/whole-pod.ts';
import type { Terminal } from '../terminal.ts';
import { type BundleView, bundlesIn } from '../view/bundles.ts';
import { type CertificateView, certificateViews } from '../view/certificates.ts';
import { type Overview, overviewOf } from '../view/overview.ts';
import { type ClusterRead, readCluster } from '../view/read.ts';
import { type WorkloadState, workloadStates } from '../view/workload-states.ts';
import { isFound, type Workload, workloadsOf } from '../view/workloads.ts';
import { createLatest } from './latest.ts';
import type { UiServerNeeds } from './server.ts';

/** Most rows in one answer. */
const mostRows = 100;

/** Some of the workloads. */
export interface WorkloadsAnswer {
  readonly at: string;
  /** How many the search finds in each state, before `state` narrows it. */
  readonly counts: Readonly<Record<WorkloadState, number>>;
  readonly found: number;
  readonly rows: readonly Workload[];
}

/** One pod: who it is and why, and what the cluster shows of its certificates and roots. */
export interface PodAnswer {
  readonly at: string;
  readonly explanation: PodExplanation;
  readonly workloads: readonly Workload[];
  /** The chains that its requests were answered with, by the name of the request, each leaf first. */
  readonly chains: Readonly<Record<string, readonly CertificateView[]>>;
  /** The live bundles of its signers. */
  readonly bundles: readonly BundleView[];
}

export type OverviewAnswer = Overview & { readonly mode: 'cluster' };

/** The answers of the web view about a cluster, which is read again while the page is open. */
export function clusterAnswers(
  api: Transport,
  terminal: Terminal,
  options: SettingsOptions,
): UiServerNeeds['answers'] {
  const serverNow = serverClock(api);
  const latest = createLatest(
    async () => {
      const read = await readCluster(api, terminal, options, serverNow);
      const workloads = workloadsOf(read);
      return { read, workloads, overview: overviewOf(read, workloads) };
    },
    () => performance.now(),
  );
  return {
    async overview(): Promise<OverviewAnswer> {
      const { overview } = await latest();
      const { waiting, refused } = overview;
      const rows = { waiting: waiting.slice(0, mostRows), refused: refused.slice(0, mostRows) };
      return { mode: 'cluster', ...overview, ...rows };
    },
    async workloads(query) {
      const { overview, workloads } = await latest();
      return { at: overview.at, ...foundIn(workloads, query) } satisfies WorkloadsAnswer;
    },
    async pod(query) {
      const { read, workloads } = await latest();
      return podIn(read, workloads, query.get('pod') ?? '');
    },
  };
}

/** @param query `q`: words that all must be found; `state`: only these; `from`: rows to leave out. Pure. */
export function foundIn(workloads: readonly Workload[], query: URLSearchParams): Omit<WorkloadsAnswer, 'at'> {
  const words = (query.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const found = workloads.filter((each) => isFound(each, words));
  const byState = Map.groupBy(found, ({ state }) => state);
  const state = workloadStates.find((each) => each === query.get('state'));
  const rows = state ? (byState.get(state) ?? []) : found;
  const from = Math.max(0, Number.parseInt(query.get('from') ?? '', 10) || 0);
  const counts = workloadStates.map((each) => [each, byState.get(each)?.length ?? 0]);
  return {
    ...{ counts: Object.fromEntries(counts), found: rows.length },
    rows: rows.slice(from, from + mostRows),
  };
}

function podIn(read: ClusterRead, workloads: readonly Workload[], pod: string): PodAnswer | undefined {
  const { world, requests, events, bundles, now } = read;
  const facts = world.pods.store.get(pod);
  if (!facts) return undefined;
  const own = requests.filter(({ wire }) => `${wire.metadata.namespace}/${wire.spec.podName}` === pod);
  const signers = new Set(own.map(({ wire }) => wire.spec.signerName));
  return {
    at: new Date(now * 1000).toISOString(),
    explanation: explainWholePod(world, pod, facts, { requests: own, events }),
    workloads: workloads.filter((each) => each.pod === pod),
    chains: Object.fromEntries(
      own.map(({ wire }) => [wire.metadata.name, certificateViews(wire.status?.certificateChain ?? '')]),
    ),
    bundles: bundlesIn(bundles).filter(
      ({ signer, canarying }) => signers.has(signer) && canarying === 'live',
    ),
  };
}
