import { join } from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { trustDomain } from './installation.ts';

const example = join(import.meta.dirname, '../../manifests/examples/greeter');
export const greeterServerId = `spiffe://${trustDomain}/ns/greeter/sa/server`;
export const greeterClientId = `spiffe://${trustDomain}/ns/greeter/sa/client`;

type Kubectl = Pick<ControlPlane, 'kubectl'>;

/** The servers and clients of manifests/examples/greeter, as they stand there. */
export async function applyGreeter({ kubectl }: Kubectl): Promise<void> {
  await kubectl(['apply', '--kustomize', example]);
}

export async function greeterLog({ kubectl }: Kubectl, pod: string): Promise<string> {
  return kubectl(['logs', '--namespace', 'greeter', '--container', 'main', pod]);
}

/** Waits until the log of a pod holds this text; returns the whole log. The error shows what its containers report. */
export async function waitForLog(
  cluster: Kubectl,
  pod: string,
  text: string,
  timeoutMs = 60_000,
): Promise<string> {
  try {
    const read = async () => {
      const log = await greeterLog(cluster, pod).catch(() => '');
      return log.includes(text) && log;
    };
    return await waitFor(`${JSON.stringify(text)} in the log of greeter/${pod}`, read, {
      timeoutMs,
      everyMs: 500,
    });
  } catch (error) {
    const where = ['--namespace', 'greeter', pod];
    const seen = await Promise.all([
      cluster.kubectl(['logs', '--all-containers', ...where]).catch(String),
      cluster.kubectl(['describe', 'pod', ...where]).catch(String),
    ]);
    throw new Error([(error as Error).message, ...seen].join('\n'));
  }
}
