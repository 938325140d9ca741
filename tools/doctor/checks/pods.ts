import { readLabelSelector, selects } from '../../../signer/kube/label-selector.ts';
import type { ClusterTrustBundle } from '../../../signer/kube/types.ts';
import { counted } from '../../output.ts';
import { type Findings, ok, orElse, problem, warning } from '../check.ts';
import type { Facts } from '../facts.ts';
import type { BundleSource, PodView } from '../views.ts';
import { enabledSigners } from './signer.ts';

const ourSigners = 'kubespiffe.io/';
const ourBundles = 'kubespiffe.io:';

/** Pods that have not ended. */
export async function runningPods(facts: Facts): Promise<PodView[]> {
  return (await facts.pods()).filter(({ status }) => !['Succeeded', 'Failed'].includes(status?.phase ?? ''));
}

/** What an ok row is about. */
export const withCertificate = (pods: readonly PodView[]) =>
  `${counted(pods.length, 'pod')} with a certificate`;

export const nameOfPod = ({ metadata }: PodView) => `Pod ${metadata.namespace}/${metadata.name}`;

const volumesOf = ({ spec }: PodView) =>
  (spec?.volumes ?? []).map(({ name, projected }) => ({ name, sources: projected?.sources ?? [] }));

/** The names of our signers that a pod asks for a certificate. */
export function signersAsked(pod: PodView): string[] {
  const sources = volumesOf(pod).flatMap((volume) => volume.sources);
  const names = sources.flatMap(({ podCertificate }) => podCertificate?.signerName ?? []);
  return [...new Set(names.filter((name) => name.startsWith(ourSigners)))];
}

export async function signerNames(facts: Facts): Promise<Findings> {
  const enabled = (await enabledSigners(facts)).map(({ signerName }) => signerName);
  const remedy = `use one of ${enabled.join(', ')}, or enable that signer`;
  const pods = await runningPods(facts);
  const asking = pods.filter((pod) => signersAsked(pod).length > 0);
  const findings = asking.flatMap((pod) =>
    signersAsked(pod)
      .filter((name) => !enabled.includes(name))
      .map((name) => problem(nameOfPod(pod), `asks the signer ${name}, which does not run`, remedy)),
  );
  return orElse(findings, ok(withCertificate(asking), 'each asks a signer that runs'));
}

/** A pod whose ClusterTrustBundle is missing does not start. */
export async function bundleSelectors(facts: Facts): Promise<Findings> {
  const bundles = await facts.bundles();
  const using = (await runningPods(facts)).flatMap((pod) =>
    volumesOf(pod).flatMap(({ name, sources }) =>
      sources.flatMap(({ clusterTrustBundle: source }) => (source ? [{ pod, volume: name, source }] : [])),
    ),
  );
  const findings = using.flatMap(({ pod, volume, source }): Findings => {
    const found = bundleProblem(source, bundles);
    if (found === undefined) return [];
    const lookedAt = `${nameOfPod(pod)}, volume ${volume}`;
    const remedy = 'compare it with `kubectl get clustertrustbundles --show-labels`, and correct the pod';
    return source.optional
      ? warning(lookedAt, `${found}; it is optional, so the pod runs without these roots`, remedy)
      : problem(lookedAt, `${found}: the pod cannot start`, remedy);
  });
  const all = counted(
    using.length,
    'clusterTrustBundle source of a pod',
    'clusterTrustBundle sources of pods',
  );
  return orElse(findings, ok(all, 'each finds a bundle'));
}

/** Why a source finds nothing, as kubelet reads it; undefined if it finds something. */
function bundleProblem(
  { name, signerName, labelSelector }: BundleSource,
  bundles: readonly ClusterTrustBundle[],
): string | undefined {
  if (name !== undefined) {
    return bundles.some(({ metadata }) => metadata.name === name)
      ? undefined
      : `there is no ClusterTrustBundle ${name}`;
  }
  if (labelSelector === undefined) {
    return `selects nothing: signerName ${signerName} without labelSelector (an empty one, {}, selects all)`;
  }
  const selector = readLabelSelector(labelSelector);
  if (!selector.ok) return selector.reason;
  const ofSigner = bundles.filter(({ spec }) => spec.signerName === signerName);
  if (ofSigner.length === 0) return `there is no ClusterTrustBundle of the signer ${signerName}`;
  if (ofSigner.some(({ metadata }) => selects(selector.value, metadata.labels))) return undefined;
  return `no ClusterTrustBundle of the signer ${signerName} has the labels ${JSON.stringify(labelSelector)}`;
}

/** Kubelet renews the files of a volume by a link, and a subPath mount stays at the file of the start. */
export async function subPathMounts(facts: Facts): Promise<Findings> {
  const pods = await runningPods(facts);
  const findings = pods.flatMap((pod) =>
    frozenMounts(pod).map((mount) =>
      warning(
        `${nameOfPod(pod)}, mount ${mount}`,
        'a subPath mount is never renewed: certificate or roots in it expire while the pod runs',
        'mount the whole volume at a directory',
      ),
    ),
  );
  return orElse(findings, ok(counted(pods.length, 'pod'), 'none mounts a certificate or roots by subPath'));
}

/** The paths at which a pod mounts something that is renewed, by subPath. */
function frozenMounts(pod: PodView): string[] {
  const renewed = volumesOf(pod)
    .filter(({ sources }) =>
      sources.some(
        ({ podCertificate, clusterTrustBundle }) =>
          podCertificate?.signerName.startsWith(ourSigners) ||
          clusterTrustBundle?.signerName?.startsWith(ourSigners) ||
          clusterTrustBundle?.name?.startsWith(ourBundles),
      ),
    )
    .map(({ name }) => name);
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec ?? {};
  return [...containers, ...initContainers, ...ephemeralContainers].flatMap(({ volumeMounts = [] }) =>
    volumeMounts
      .filter(({ name, subPath, subPathExpr }) => renewed.includes(name) && (subPath || subPathExpr))
      .map(({ mountPath }) => mountPath),
  );
}
