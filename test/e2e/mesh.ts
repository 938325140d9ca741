import { join } from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';

const example = join(import.meta.dirname, '../../manifests/examples/mesh');

/** The servers and clients of manifests/examples/mesh, as they stand there. */
export async function applyMesh({ kubectl }: Pick<ControlPlane, 'kubectl'>): Promise<void> {
  await kubectl(['apply', '--kustomize', example]);
}

/** The last line that one of its clients prints, once it has ended well: before it there may be failed attempts. */
export async function answerIn(
  { kubectl, request }: Pick<ControlPlane, 'kubectl' | 'request'>,
  client: string,
): Promise<string> {
  const logs = () => kubectl(['logs', '--namespace', 'mesh', client]);
  try {
    await waitFor(`the end of ${client}`, async () => {
      const { body } = await request('GET', `/api/v1/namespaces/mesh/pods/${client}`);
      return body.status?.phase === 'Succeeded';
    });
  } catch (error) {
    const seen = [logs().catch(String), kubectl(['describe', 'pods', '--namespace', 'mesh'])];
    throw new Error([(error as Error).message, ...(await Promise.all(seen))].join('\n'));
  }
  return (await logs()).trim().split('\n').at(-1) ?? '';
}
