import { setTimeout as pause } from 'node:timers/promises';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type SignerProcess, startSigner, sumOf } from '../contract/signer-process.ts';
import { epochMs } from './api-client.ts';
import { connectionsTo, residentMegabytes } from './process-figures.ts';

/** What a replica has asked of the API server so far. */
export interface Usage {
  /** Status writes sent, with any result. */
  readonly writes: number;
  /** Requests and pods read one by one. */
  readonly reads: number;
  readonly takeovers: number;
  readonly watchRestarts: number;
}

export interface BenchSigner {
  readonly process: SignerProcess;
  /** When the process was started, and when /readyz said yes for the first time. Milliseconds of epochMs(). */
  readonly startedAt: number;
  readonly readyAt: number;
  usage(): Promise<Usage>;
  /** Open connections to the API server: the most seen since the start. */
  connections(): number;
  residentMegabytes(): { now: number; peak: number };
  stop(): Promise<void>;
}

/** Starts a replica as users do. Waits until it is ready, unless it is one that cannot become ready. */
export async function startBenchSigner(
  cluster: { readonly controlPlane: ControlPlane; readonly signerKubeconfig: string; readonly pool: string },
  options: { replica?: string; waitUntilReady?: boolean; flags?: readonly string[] } = {},
): Promise<BenchSigner> {
  const replica = options.replica ?? 'a';
  const startedAt = epochMs();
  const { signerKubeconfig: kubeconfig, pool } = cluster;
  const signer = await startSigner({ kubeconfig, pool, replica, flags: options.flags ?? [] });
  const { child } = signer;
  if (options.waitUntilReady !== false) {
    await waitFor(`replica ${replica} to be ready`, async () => (await signer.readiness()).ok, {
      everyMs: 10,
      needs: [child],
    });
  }
  const readyAt = epochMs();

  const port = Number(new URL(cluster.controlPlane.url).port);
  let mostConnections = 0;
  const sampler = setInterval(() => {
    if (!child.hasExited()) mostConnections = Math.max(mostConnections, connectionsTo(child.pid, port));
  }, 500).unref();

  return {
    process: signer,
    startedAt,
    readyAt,
    async usage() {
      const text = await signer.metrics();
      const calls = (verb: string, resource: string) =>
        sumOf(text, 'kubespiffe_api_requests_total', { verb, resource });
      return {
        writes: calls('PATCH', 'podcertificaterequests/status'),
        reads: calls('GET', 'podcertificaterequests') + calls('GET', 'pods'),
        takeovers: sumOf(text, 'kubespiffe_takeovers_total'),
        watchRestarts: sumOf(text, 'kubespiffe_watch_restarts_total'),
      };
    },
    connections: () => mostConnections,
    residentMegabytes: () => residentMegabytes(child.pid),
    async stop() {
      clearInterval(sampler);
      await child.stop();
    },
  };
}

/** Starts two replicas and waits until each has seen the other one renew its Lease. */
export async function startTwoSigners(
  cluster: Parameters<typeof startBenchSigner>[0],
): Promise<[BenchSigner, BenchSigner]> {
  const both = await Promise.all([
    startBenchSigner(cluster, { replica: 'a' }),
    startBenchSigner(cluster, { replica: 'b' }),
  ]);
  const renewals = async () => {
    const path = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
    const { body } = await cluster.controlPlane.request('GET', path);
    return (body.items as { spec: { renewTime: string } }[]).map(({ spec }) => spec.renewTime);
  };
  const first = await renewals();
  await waitFor('both replicas to have renewed their Leases', async () => {
    const now = await renewals();
    return now.length === 2 && now.every((time) => !first.includes(time));
  });
  // The renewals reach the other replica's watch about when they reach us.
  await pause(500);
  return both;
}
