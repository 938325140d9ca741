import { globSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Installation, signerReady } from '../installation.ts';

const library = 'libfaketimeMT.so.1';
const preload: Readonly<Record<string, string>> = {
  LD_PRELOAD: `/faketime/${library}`,
  FAKETIME_TIMESTAMP_FILE: '/clocks/$(POD_NAME)',
  // A new time counts at once. The monotonic clock stays as it is, as when somebody sets the clock of a node.
  FAKETIME_NO_CACHE: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  FAKETIME_DISABLE_SHM: '1',
};

/** The names of the signer's pods. */
export async function signerPods({ controlPlane }: Installation): Promise<readonly string[]> {
  const path = '/api/v1/namespaces/kubespiffe/pods?labelSelector=app.kubernetes.io/component=signer';
  const { items } = (await controlPlane.request('GET', path)).body as {
    items: { metadata: { name: string; deletionTimestamp?: string } }[];
  };
  return items.flatMap(({ metadata }) => (metadata.deletionTimestamp === undefined ? [metadata.name] : []));
}

/**
 * Gives each replica a clock of its own, by libfaketime, and more environment variables.
 *
 * @returns sets the clock of pods to so many seconds ahead of the machine's.
 */
export async function giveOwnClocks(
  installation: Installation,
  more: Readonly<Record<string, string>>,
): Promise<(aheadSeconds: number, pods: readonly string[]) => Promise<void>> {
  const { controlPlane } = installation;
  const [found] = globSync(`/usr/lib/*/faketime/${library}`);
  if (found === undefined)
    throw new Error('libfaketime is missing: run scripts/debian-packages.sh libfaketime');
  const clocks = join(controlPlane.dir, 'clocks');
  await mkdir(clocks, { mode: 0o755 });
  const mounts = Object.entries({ faketime: dirname(found), clocks });
  const container = '/spec/template/spec/containers/0';
  const patch = [
    ...Object.entries({ ...preload, ...more }).map(([name, value]) => ({
      ...{ op: 'add', path: `${container}/env/-`, value: { name, value } },
    })),
    {
      ...{ op: 'add', path: '/spec/template/spec/volumes' },
      value: mounts.map(([name, path]) => ({ name, hostPath: { path } })),
    },
    {
      ...{ op: 'add', path: `${container}/volumeMounts` },
      value: mounts.map(([name]) => ({ name, mountPath: `/${name}`, readOnly: true })),
    },
  ];
  // The library comes from the node.
  await controlPlane.kubectl([
    ...['label', '--overwrite', 'namespace', 'kubespiffe', 'pod-security.kubernetes.io/enforce=privileged'],
  ]);
  await controlPlane.kubectl([
    ...['patch', 'deployment/kubespiffe-signer', '--namespace', 'kubespiffe'],
    ...['--type', 'json', '--patch', JSON.stringify(patch)],
  ]);
  await signerReady(controlPlane);
  return async (aheadSeconds, pods) => {
    for (const pod of pods)
      await writeFile(join(clocks, pod), `${aheadSeconds < 0 ? '' : '+'}${aheadSeconds}`);
  };
}
