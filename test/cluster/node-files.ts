import { mkdir, statfs, writeFile } from 'node:fs/promises';
import type { ControlPlane } from './control-plane.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { cniConfig, containerdConfig, kubeletConfig, type NodeFiles } from './node-config.ts';
import { type KubernetesVersion, kubernetesReleases } from './versions.ts';

/** Writes what the parts of a node read: their settings, and the identities that they have at the API server. */
export async function writeNodeFiles(
  controlPlane: ControlPlane,
  files: NodeFiles,
  index: number,
  name: string,
  cgroupRoot: string,
  version: KubernetesVersion,
): Promise<void> {
  const { network, authority } = controlPlane;
  const server = controlPlane.url.replace('127.0.0.1', network.host);
  const cluster = { server, authority: authority.certificate };
  const identity = await authority.issue({ commonName: `system:node:${name}`, organization: 'system:nodes' });
  await writeKubeconfig(files.kubeletKubeconfig, cluster, identity);
  await writeKubeconfig(
    files.proxyKubeconfig,
    cluster,
    await authority.issue({ commonName: 'system:kube-proxy' }),
  );
  await writeFile(files.containerdConfig, containerdConfig(files, await snapshotter(files.state)));
  await mkdir(files.cniConfig);
  await writeFile(`${files.cniConfig}/10-pods.conflist`, cniConfig(files, network.podCidr(index)));
  const kubelet = kubeletConfig({
    files,
    address: network.node(index),
    cgroupRoot: `/${cgroupRoot}`,
    clientAuthorityFile: `${controlPlane.dir}/ca.crt`,
    needsGates: !kubernetesReleases[version].servesV1,
  });
  await writeFile(files.kubeletConfig, kubelet);
}

export function kubeletFlags(files: NodeFiles, address: string, name: string): string[] {
  return [
    `--config=${files.kubeletConfig}`,
    `--kubeconfig=${files.kubeletKubeconfig}`,
    `--cert-dir=${files.state}/kubelet-certificates`,
    `--hostname-override=${name}`,
    `--node-ip=${address}`,
    '--v=2',
  ];
}

/** The conntrack settings of the host are left alone: they are not the namespace's own. */
export function proxyFlags(files: NodeFiles, address: string, name: string): string[] {
  return [
    `--kubeconfig=${files.proxyKubeconfig}`,
    `--hostname-override=${name}`,
    `--bind-address=${address}`,
    '--proxy-mode=nftables',
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0s',
    '--conntrack-tcp-timeout-close-wait=0s',
  ];
}

/** An overlay cannot lie on another one, as in a container. */
async function snapshotter(folder: string): Promise<'overlayfs' | 'native'> {
  const overlayMagic = 0x794c7630;
  return (await statfs(folder)).type === overlayMagic ? 'native' : 'overlayfs';
}
