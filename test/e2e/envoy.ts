import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeProgramImage } from '../cluster/image.ts';
import { podLog } from '../cluster/pods.ts';
import { envoyProgram } from '../judges/envoy.ts';
import type { Installation } from './installation.ts';
import { followBelow, type Reader } from './reader.ts';

/** The image that the example names, as kubelet reads the name: here it has the Envoy that the tests install. */
const image = 'docker.io/envoyproxy/envoy:distroless-v1.40.0';

/** The server and the client of the page. */
export async function applyEnvoy({ controlPlane, node }: Installation, reader: Reader): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-envoy-'));
  const program = { name: 'envoy', file: await envoyProgram() };
  await node.importImage(await makeProgramImage(image, program, folder));
  await rm(folder, { recursive: true });
  await followBelow(reader, controlPlane, 'docs/guides/envoy.md', 'Envoy');
}

/** What the client printed so far, a line for each request. */
export async function envoyAnswers({ controlPlane }: Installation): Promise<string[]> {
  const log = await podLog(controlPlane, { namespace: 'envoy', name: 'client' }, { container: 'main' });
  return log.trim().split('\n');
}

export async function envoyState({ controlPlane }: Installation): Promise<string> {
  const where = ['--namespace', 'envoy'];
  const seen = await Promise.all([
    controlPlane.kubectl(['describe', 'pods', ...where]).catch(String),
    ...['web', 'client'].map((pod) =>
      controlPlane.kubectl(['logs', '--all-containers', ...where, pod]).catch(String),
    ),
  ]);
  return seen.join('\n');
}
