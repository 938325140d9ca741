import { clusterDomain, dnsServiceAddress } from './network.ts';
import { podCertificateGates } from './versions.ts';

export const pauseImage = 'kubespiffe.test/pause:1';

/** Folder of the CNI plugins in Debian's package containernetworking-plugins. */
export const cniPlugins = '/usr/lib/cni';

/** Files of one node below its state folder. */
export interface NodeFiles {
  state: string;
  containerdSocket: string;
  containerdConfig: string;
  cniConfig: string;
  kubeletConfig: string;
  kubeletKubeconfig: string;
  proxyKubeconfig: string;
}

export function nodeFiles(state: string): NodeFiles {
  return {
    state,
    containerdSocket: `${state}/containerd.sock`,
    containerdConfig: `${state}/containerd.toml`,
    cniConfig: `${state}/cni`,
    kubeletConfig: `${state}/kubelet.json`,
    kubeletKubeconfig: `${state}/kubelet.kubeconfig`,
    proxyKubeconfig: `${state}/kube-proxy.kubeconfig`,
  };
}

/**
 * `restrict_oom_score_adj`: test machines often lack CAP_SYS_RESOURCE, and every sandbox would fail.
 * @param snapshotter `native` where the state folder is on an overlay itself, which cannot carry another.
 */
export function containerdConfig(files: NodeFiles, snapshotter: 'overlayfs' | 'native'): string {
  return `version = 2
root = "${files.state}/containerd"
state = "${files.state}/containerd-state"
[grpc]
  address = "${files.containerdSocket}"
[ttrpc]
  address = "${files.containerdSocket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "${snapshotter}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${cniPlugins}"
  conf_dir = "${files.cniConfig}"
`;
}

export function cniConfig(files: NodeFiles, podCidr: string): string {
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: podCidr }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: `${files.state}/addresses`,
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
}

/**
 * Kubelet as users run it but for what a shared machine asks for, and for one setting that makes tests quicker:
 * volumes are looked at every 3 s instead of every minute.
 */
export function kubeletConfig(node: {
  files: NodeFiles;
  address: string;
  cgroupRoot: string;
  clientAuthorityFile: string;
  needsGates: boolean;
}): string {
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: node.address,
    containerRuntimeEndpoint: `unix://${node.files.containerdSocket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: node.clientAuthorityFile },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    // Two kubelets in one root take each other's containers for orphans and kill them.
    cgroupRoot: node.cgroupRoot,
    failCgroupV1: false,
    failSwapOn: false,
    protectKernelDefaults: true,
    oomScoreAdj: 0,
    resolvConf: '',
    clusterDNS: [dnsServiceAddress],
    clusterDomain,
    syncFrequency: '3s',
    evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    evictionPressureTransitionPeriod: '0s',
    imageGCHighThresholdPercent: 100,
    ...(node.needsGates && { featureGates: gates(podCertificateGates.kubelet) }),
  });
}

function gates(list: string): Record<string, boolean> {
  return Object.fromEntries(list.split(',').map((gate) => [gate.split('=')[0] ?? gate, true]));
}
