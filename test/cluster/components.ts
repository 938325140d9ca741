import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestAuthority } from './certificates.ts';
import { apiServiceAddress, type ClusterNetwork, serviceCidr } from './network.ts';
import {
  betaRuntimeConfig,
  type KubernetesVersion,
  kubernetesReleases,
  podCertificateGates,
} from './versions.ts';

/** What the flags of the control plane's components depend on. */
export interface ComponentSettings {
  version: KubernetesVersion;
  dir: string;
  port: number;
  etcdPort: number;
  peerPort: number;
  network: ClusterNetwork;
  betaApis: boolean;
  serviceAccountIssuers: readonly string[];
  apiServerFlags: readonly string[];
  nodeRestriction: boolean;
}

/** The files that the flags below name: the cluster's CA, serving and client certificates, the token key. */
export async function writeCertificates(
  dir: string,
  authority: TestAuthority,
  network: ClusterNetwork,
  tokenAlgorithm: 'ES256' | 'RS256',
): Promise<void> {
  const names = ['localhost', 'kubernetes.default.svc', '127.0.0.1', apiServiceAddress, network.host];
  const serving = await authority.issue({ commonName: 'kube-apiserver', names });
  const kubeletClient = await authority.issue({
    commonName: 'kube-apiserver-kubelet-client',
    organization: 'system:masters',
  });
  const tokenKey =
    tokenAlgorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const files: Record<string, string> = {
    'ca.crt': authority.certificate,
    'apiserver.crt': serving.certificate,
    'apiserver.key': serving.key,
    'kubelet-client.crt': kubeletClient.certificate,
    'kubelet-client.key': kubeletClient.key,
    'sa.pub': tokenKey.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    'sa.key': tokenKey.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(dir, name), content, { mode: 0o600 });
  }
}

export function etcdFlags({ dir, etcdPort, peerPort }: ComponentSettings): string[] {
  const url = `http://127.0.0.1:${etcdPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  return [
    `--data-dir=${join(dir, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

/**
 * The API server listens on every address, because a node joins by one that is not there yet; it advertises
 * that one, so that pods reach it through the Service `kubernetes`.
 */
export function apiServerFlags(settings: ComponentSettings): string[] {
  const { dir, port, etcdPort, network } = settings;
  const { servesV1 } = kubernetesReleases[settings.version];
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    '--bind-address=0.0.0.0',
    `--advertise-address=${network.host}`,
    `--secure-port=${port}`,
    `--cert-dir=${dir}`,
    `--tls-cert-file=${join(dir, 'apiserver.crt')}`,
    `--tls-private-key-file=${join(dir, 'apiserver.key')}`,
    `--client-ca-file=${join(dir, 'ca.crt')}`,
    `--service-account-key-file=${join(dir, 'sa.pub')}`,
    `--service-account-signing-key-file=${join(dir, 'sa.key')}`,
    ...settings.serviceAccountIssuers.map((issuer) => `--service-account-issuer=${issuer}`),
    `--service-cluster-ip-range=${serviceCidr}`,
    '--authorization-mode=Node,RBAC',
    ...(settings.nodeRestriction ? ['--enable-admission-plugins=NodeRestriction'] : []),
    `--kubelet-client-certificate=${join(dir, 'kubelet-client.crt')}`,
    `--kubelet-client-key=${join(dir, 'kubelet-client.key')}`,
    '--kubelet-preferred-address-types=InternalIP',
    '--allow-privileged=true',
    ...(servesV1 ? [] : [`--feature-gates=${podCertificateGates.apiServer}`]),
    ...(servesV1 && !settings.betaApis ? [] : [`--runtime-config=${betaRuntimeConfig}`]),
    ...settings.apiServerFlags,
  ];
}

export function controllerFlags(
  name: 'kube-controller-manager' | 'kube-scheduler',
  { version, dir }: ComponentSettings,
  kubeconfig: string,
): string[] {
  const common = [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
  if (name === 'kube-scheduler') return common;
  return [
    ...common,
    // At the default of 20 a second its own start takes 5 s.
    '--kube-api-qps=500',
    '--kube-api-burst=1000',
    '--use-service-account-credentials',
    `--service-account-private-key-file=${join(dir, 'sa.key')}`,
    `--root-ca-file=${join(dir, 'ca.crt')}`,
    ...(kubernetesReleases[version].servesV1
      ? []
      : [`--feature-gates=${podCertificateGates.controllerManager}`]),
  ];
}
