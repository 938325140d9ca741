import { isKubernetesVersion, type KubernetesVersion } from '../cluster/versions.ts';

/** One combination of versions on which the end-to-end tests run. */
export interface ClusterChoice {
  readonly name: string;
  readonly version: KubernetesVersion;
  /** certificates.k8s.io/v1beta1 is served beside v1. */
  readonly betaApis: boolean;
  readonly kubeletVersion: KubernetesVersion;
  /** The newest version of certificates.k8s.io that has trust bundles and requests. */
  readonly apiVersion: 'v1' | 'v1beta1';
}

/** Whether there is time for what takes minutes: in `make test-all`, which names the clusters. */
export const isPatient = process.env.KUBESPIFFE_TEST_CLUSTERS !== undefined;

/**
 * The combinations that the setting KUBESPIFFE_TEST_CLUSTERS names, separated by blanks: `1.37.1` with v1 alone,
 * `1.37.1+beta` with v1beta1 too, `1.37.1+1.35.4` with v1beta1 and an older kubelet.
 */
export function clusterChoices(setting = process.env.KUBESPIFFE_TEST_CLUSTERS ?? '1.37.1'): ClusterChoice[] {
  return setting.split(' ').map((name) => {
    const [version = '', addition = ''] = name.split('+');
    const kubeletVersion = addition === 'beta' || addition === '' ? version : addition;
    if (!isKubernetesVersion(version) || !isKubernetesVersion(kubeletVersion)) {
      throw new Error(
        `KUBESPIFFE_TEST_CLUSTERS names "${name}": not VERSION, VERSION+beta or VERSION+KUBELET`,
      );
    }
    const apiVersion = version.startsWith('1.37') ? 'v1' : 'v1beta1';
    return { name, version, betaApis: addition !== '', kubeletVersion, apiVersion };
  });
}
