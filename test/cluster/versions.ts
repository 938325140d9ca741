/** What differs between the Kubernetes versions that the tests run. */
export interface KubernetesRelease {
  /** Module file in test/cluster/kubernetes that pins this version (its .sum file lies beside it). */
  modFile: string;
  /** Serves PodCertificateRequests and ClusterTrustBundles as certificates.k8s.io/v1, with no gate set. */
  servesV1: boolean;
}

export const kubernetesReleases = {
  '1.37.1': { modFile: 'go.mod', servesV1: true },
  '1.36.3': { modFile: 'v1.36.3.mod', servesV1: false },
  '1.35.4': { modFile: 'v1.35.4.mod', servesV1: false },
} as const satisfies Record<string, KubernetesRelease>;

export type KubernetesVersion = keyof typeof kubernetesReleases;

export const defaultVersion: KubernetesVersion = '1.37.1';

/** Feature gates that a component of a version before v1 needs before it knows pod certificates. */
export const podCertificateGates = {
  apiServer: 'PodCertificateRequest=true,ClusterTrustBundle=true,ClusterTrustBundleProjection=true',
  controllerManager: 'PodCertificateRequest=true',
  kubelet: 'PodCertificateRequest=true,ClusterTrustBundle=true,ClusterTrustBundleProjection=true',
} as const;

/** `--runtime-config` that serves PCRs and CTBs as v1beta1 too: off by default in every version. */
export const betaRuntimeConfig =
  'certificates.k8s.io/v1beta1/podcertificaterequests=true,certificates.k8s.io/v1beta1/clustertrustbundles=true';

export function isKubernetesVersion(text: string): text is KubernetesVersion {
  return Object.hasOwn(kubernetesReleases, text);
}
