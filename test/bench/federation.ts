import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { compilePool } from '../../signer/authority/pool.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { waitFor } from '../cluster/process.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';
import { create, createMany, type Pair, removeAll } from './names.ts';
import { type Bench, bursts, type Run } from './runs.ts';
import { startBenchSigner } from './signers.ts';

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
  /** Of one core. */
  readonly cpuShare: number;
  readonly residentMb: number;
}

export interface FederationRuns {
  readonly sizes: FederationSizes & { readonly pods: number };
  readonly pairs: readonly Pair[];
  /** Without other trust domains, and with all of them, after each was fetched once. */
  readonly rest: { readonly none: Rest; readonly all: Rest };
}

const root = join(import.meta.dirname, '../..');
const path = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
const bundlesPath = '/apis/certificates.k8s.io/v1/clustertrustbundles';
const flags = ['--federation', 'true', '--federation-allowed-addresses', '127.0.0.0/8'];
const refreshHintSeconds = 300;

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
    const [, later] = await bursts(bench, 'one', sizes.requests, 2, { flags });
    if (!later) throw new Error('the burst gave no result');
    return later;
  };
  try {
    const none = await atRest(bench, 0, sizes.restSeconds);
    const pairs: Pair[] = [];
    let all: Rest | undefined;
    while (pairs.length < sizes.pairs) {
      const few = await laterBurst();
      say(`pair ${pairs.length + 1} of ${sizes.pairs}: ${sizes.peers} other trust domains`);
      await createMany(sizes.peers, (index) => create(bench, path, partners.resourceFor(index)));
      // The replica that fetches them all for the first time is not the one that is measured.
      const rest = await atRest(bench, sizes.peers, all ? 0 : sizes.restSeconds);
      all ??= rest;
      pairs.push({ few, many: await laterBurst() });
      await removeAll(bench, path);
      await removeAll(bench, bundlesPath);
    }
    if (!all) throw new Error('there was no pair');
    return { sizes, pairs, rest: { none, all } };
  } finally {
    partners.stop();
  }
}

/** A replica that has fetched the bundles of so many trust domains, and then does nothing else but keep them. */
async function atRest({ cluster }: Bench, peers: number, seconds: number): Promise<Rest> {
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
    await pause(seconds === 0 ? 0 : 10_000);
    const before = signer.process.child.cpuSeconds();
    await pause(seconds * 1_000);
    const cpuShare = (signer.process.child.cpuSeconds() - before) / Math.max(seconds, 1);
    return { cpuShare, residentMb: signer.residentMegabytes().now };
  } finally {
    await signer.stop();
  }
}

/** One endpoint with the bundles of many trust domains. */
async function startPartners(count: number) {
  const credentials = await webCredentials();
  const documents: Uint8Array[] = [];
  while (documents.length < count) {
    const trustDomain = nameOf(documents.length);
    const compiled = compilePool(await aPool({ trustDomain }), trustDomain);
    const document = compiled.ok && spiffeBundleDocument(compiled.pool, refreshHintSeconds);
    if (!document) throw new Error(`there is no bundle of ${trustDomain}`);
    documents.push(document.bytes);
  }
  const server = createServer(credentials, ({ url = '' }, response) => {
    response.end(documents[Number(url.slice(1))]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    resourceFor: (index: number) => ({
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'FederatedTrustDomain',
      metadata: { name: `partner-${index}` },
      spec: {
        trustDomain: nameOf(index),
        bundleEndpoint: {
          ...{ url: `https://127.0.0.1:${port}/${index}`, profile: 'https_web' },
          caBundle: credentials.cert,
        },
      },
    }),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const nameOf = (index: number) => `partner-${index}.example`;
