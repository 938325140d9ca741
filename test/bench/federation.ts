import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from '../cluster/process.ts';
import { type Partners, type Punctuality, partnerName, startPartners } from './federation-partners.ts';
import { create, createMany, type Pair, removeAll } from './names.ts';
import { type Bench, bursts, type Run } from './runs.ts';
import { type BenchSigner, startBenchSigner } from './signers.ts';

export interface FederationSizes {
  /** How many pairs of bursts are compared. */
  readonly pairs: number;
  readonly requests: number;
  readonly peers: number;
  /** How long a replica without requests is watched. */
  readonly restSeconds: number;
}

/** A replica that answers no requests. */
export interface Rest {
  /** The share of one core. */
  readonly cpuShare: number;
  readonly residentMb: number;
}

/** The same while it keeps the bundles of other trust domains, which it fetched for the first time itself. */
export interface BusyRest extends Rest {
  readonly punctuality: Punctuality;
  /** From the fetch of a changed bundle until its root is in the ClusterTrustBundle. */
  readonly publishedMs: readonly number[];
}

export interface FederationRuns {
  readonly sizes: FederationSizes & { readonly pods: number };
  readonly pairs: readonly Pair[];
  /** Without other trust domains, and with all of them, after each was fetched once. */
  readonly rest: { readonly none: Rest; readonly all: BusyRest };
}

const root = join(import.meta.dirname, '../..');
const path = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
const bundlesPath = '/apis/certificates.k8s.io/v1/clustertrustbundles';
const eventsPath = '/apis/events.k8s.io/v1/namespaces/default/events';
const flags = ['--federation', 'true', '--federation-allowed-addresses', '127.0.0.0/8'];
const settlingMs = (restSeconds: number) => Math.min(30_000, restSeconds * 1_000);
/** How many bundles change, one after another. */
const changes = 20;

/** What certificates cost while the bundles of many other trust domains are kept fresh. All pods exist already. */
export async function measureFederation(
  bench: Bench,
  sizes: FederationRuns['sizes'],
  say: (line: string) => void,
): Promise<FederationRuns> {
  const { controlPlane } = bench.cluster;
  await controlPlane.kubectl(['apply', '--server-side', '-k', join(root, 'manifests/crds')]);
  await controlPlane.kubectl(['apply', '-f', join(root, 'manifests/federation/rbac.yaml')]);
  await waitFor('the CRD', async () => (await controlPlane.request('GET', path)).status === 200);
  say(`making ${sizes.peers} other trust domains`);
  const partners = await startPartners(sizes.peers);
  const laterBurst = async (): Promise<Run> => {
    // A replica that starts reads all bundles, and takes over the fetches that are due.
    const restMs = settlingMs(sizes.restSeconds);
    const [, later] = await bursts(bench, 'one', sizes.requests, 2, { flags, restMs });
    if (!later) throw new Error('the burst gave no result');
    return later;
  };
  const createAll = async () => {
    partners.reset();
    await createMany(sizes.peers, (index) => create(bench, path, partners.resourceFor(index)));
  };
  const removeThem = async () => {
    for (const each of [path, bundlesPath]) await removeAll(bench, each);
    await controlPlane.request('DELETE', eventsPath);
  };
  try {
    const none = await withReplica(bench, 0, (signer) => atRest(signer, sizes.restSeconds));
    const pairs: Pair[] = [];
    while (pairs.length < sizes.pairs) {
      const few = await laterBurst();
      say(`pair ${pairs.length + 1} of ${sizes.pairs}: ${sizes.peers} other trust domains`);
      await createAll();
      // Another replica than this one, which fetches them all for the first time, answers the requests.
      await withReplica(bench, sizes.peers, async () => {});
      pairs.push({ few, many: await laterBurst() });
      await removeThem();
    }
    say(`keeping ${sizes.peers} bundles fresh, once an Event is written for each`);
    await createAll();
    const all = await withReplica(bench, sizes.peers, async (signer): Promise<BusyRest> => {
      await eventsWritten(bench, sizes.peers);
      const rest = await atRest(signer, sizes.restSeconds, partners.startCounting);
      const punctuality = partners.punctuality();
      return { ...rest, punctuality, publishedMs: await changesPublished(bench, partners, sizes) };
    });
    await removeThem();
    return { sizes, pairs, rest: { none, all } };
  } finally {
    partners.stop();
  }
}

/** Does something while a replica runs that has the bundles of so many trust domains. */
async function withReplica<T>(
  { cluster }: Bench,
  peers: number,
  work: (signer: BenchSigner) => Promise<T>,
): Promise<T> {
  const signer = await startBenchSigner(cluster, { flags });
  try {
    await waitFor(
      'all bundles',
      async () => {
        const { body } = await cluster.controlPlane.request('GET', path);
        const resources = body.items as { status?: { clusterTrustBundle?: string } }[];
        return resources.filter(({ status }) => status?.clusterTrustBundle).length === peers;
      },
      { timeoutMs: 180_000, everyMs: 1_000 },
    );
    return await work(signer);
  } finally {
    await signer.stop();
  }
}

/** Waits until a replica has said of each bundle that it is new. It writes five Events in a second. */
async function eventsWritten({ cluster }: Bench, count: number): Promise<void> {
  await waitFor(
    'an Event for each bundle',
    async () => {
      const { body } = await cluster.controlPlane.request('GET', eventsPath);
      const events = body.items as { reason?: string }[];
      return events.filter(({ reason }) => reason === 'BundleTaken').length >= count;
    },
    { timeoutMs: 400_000, everyMs: 2_000 },
  );
}

/** Measures a replica that answers no requests. @param begins is called when it does. */
async function atRest(signer: BenchSigner, seconds: number, begins = () => {}): Promise<Rest> {
  await pause(settlingMs(seconds));
  begins();
  const { child } = signer.process;
  const before = child.cpuSeconds();
  await pause(seconds * 1_000);
  const cpuShare = (child.cpuSeconds() - before) / seconds;
  return { cpuShare, residentMb: signer.residentMegabytes().now };
}

/** Changes some bundles, and measures how long after its fetch each is in its ClusterTrustBundle. */
async function changesPublished(
  { cluster }: Bench,
  partners: Partners,
  { peers }: FederationSizes,
): Promise<number[]> {
  const { request } = cluster.controlPlane;
  const tookMs: number[] = [];
  for (let index = 0; index < Math.min(changes, peers); index += 1) {
    const { rootPem, served } = await partners.change(index);
    const annotations = { 'kubespiffe.io/refresh': String(performance.now()) };
    await request('PATCH', `${path}/partner-${index}`, { metadata: { annotations } });
    const servedAt = await served;
    const bundle = `${bundlesPath}/kubespiffe.io:spiffe:peer.${partnerName(index)}`;
    await waitFor(
      'the changed root',
      async () => (await request('GET', bundle)).body.spec.trustBundle.includes(rootPem),
      { everyMs: 10 },
    );
    tookMs.push(performance.now() - servedAt);
  }
  return tookMs;
}
