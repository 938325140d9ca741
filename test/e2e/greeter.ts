import { join } from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { podLog } from '../cluster/pods.ts';
import { waitFor } from '../cluster/process.ts';
import { trustDomain } from './installation.ts';

const example = join(import.meta.dirname, '../../manifests/examples/greeter');
export const greeterServerId = `spiffe://${trustDomain}/ns/greeter/sa/server`;
export const greeterClientId = `spiffe://${trustDomain}/ns/greeter/sa/client`;

type Cluster = Pick<ControlPlane, 'kubectl' | 'request'>;

/** The servers and clients of manifests/examples/greeter, as they stand there. */
export async function applyGreeter({ kubectl }: Cluster): Promise<void> {
  await kubectl(['apply', '--kustomize', example]);
}

/** Its clients: one reads files, the other one asks the Workload API of its sidecar. */
export const greeterClients = ['client', 'sidecar-client'] as const;
export const greeterPods = [...greeterClients, 'server', 'sidecar-server'] as const;

/** What the log of a client reports since the first answer: before that, its server may not have been running. */
export interface GreeterReport {
  readonly answered: number;
  readonly failed: readonly string[];
}

const logOf = (cluster: Cluster, name: string) =>
  podLog(cluster, { namespace: 'greeter', name }, { container: 'main' });

async function readGreeter(cluster: Cluster, client: string): Promise<GreeterReport> {
  const log = await logOf(cluster, client);
  const lines = log.slice(log.indexOf(`${greeterServerId} answered `)).split('\n');
  return {
    answered: lines.filter((line) => line.startsWith(`${greeterServerId} answered ${greeterClientId}: `))
      .length,
    failed: lines.filter((line) => line.includes(' failed: ')),
  };
}

/** Waits until a line of the log of a pod begins with this text; returns the line. The error shows what the pod reports. */
export async function lineOf(
  cluster: Cluster,
  pod: string,
  start: string,
  timeoutMs = 120_000,
): Promise<string> {
  const { kubectl } = cluster;
  const where = ['--namespace', 'greeter', pod];
  try {
    const read = async () => {
      const log = await logOf(cluster, pod).catch(() => '');
      return log.split('\n').find((line) => line.startsWith(start));
    };
    return await waitFor(`the line "${start}" in the log of greeter/${pod}`, read, {
      timeoutMs,
      everyMs: 500,
    });
  } catch (error) {
    const seen = await Promise.all([
      kubectl(['logs', '--all-containers', '--tail', '50', ...where]).catch(String),
      kubectl(['describe', 'pod', ...where]).catch(String),
    ]);
    throw new Error([(error as Error).message, ...seen].join('\n'));
  }
}

/**
 * Waits until a client has had answers over a connection that is younger than this call: the server of the example closes
 * a connection after 5 seconds.
 */
export async function answersOfNewConnection(cluster: Cluster, client: string): Promise<GreeterReport> {
  const { answered: before } = await readGreeter(cluster, client);
  return waitFor(
    `more answers to ${client}`,
    async () => {
      const report = await readGreeter(cluster, client);
      return report.answered > before + 60 && report;
    },
    { everyMs: 1_000 },
  );
}
