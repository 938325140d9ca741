import type { PodCertificateRequest } from '../../../signer/kube/types.ts';
import type { EventView } from '../../cluster/events.ts';
import { counted, span } from '../../output.ts';
import { type Findings, ok, orElse, problem } from '../check.ts';
import type { Facts } from '../facts.ts';
import { inOrder } from '../views.ts';
import { nameOfPod, runningPods, signersAsked } from './pods.ts';

/** Pods for which kubelet has not asked although their volumes are not there yet. */
export async function unrequested(facts: Facts): Promise<Findings> {
  const requested = new Set((await facts.requests()).map(({ spec }) => `${spec.podUID} ${spec.signerName}`));
  const waiting = (await runningPods(facts)).filter(({ metadata, spec, status }) => {
    const created = Date.parse(metadata.creationTimestamp ?? '') / 1000;
    const hasVolumes = status?.conditions?.some(
      ({ type, status }) => type === 'PodReadyToStartContainers' && status === 'True',
    );
    const isScheduled = Boolean(spec?.nodeName) && metadata.deletionTimestamp === undefined;
    return (
      status?.phase === 'Pending' &&
      isScheduled &&
      !hasVolumes &&
      facts.now() - created > facts.overdueSeconds
    );
  });
  const findings = waiting.flatMap((pod) =>
    signersAsked(pod)
      .filter((signer) => !requested.has(`${pod.metadata.uid} ${signer}`))
      .map((signer) => {
        const found = `waits for its volumes, and the kubelet of node ${pod.spec?.nodeName} has made no request to ${signer}`;
        const { namespace, name } = pod.metadata;
        const remedy =
          `see \`kubectl describe pod -n ${namespace} ${name}\`; ` +
          'up to 1.36 the kubelet needs the feature gate PodCertificateRequest, and may not be newer than the API server';
        return problem(nameOfPod(pod), found, remedy);
      }),
  );
  return orElse(
    findings,
    ok('pods that wait for their volumes', 'their kubelets have requested what they need'),
  );
}

/** Requests of pods that still live. Kubernetes deletes a request some 15 minutes after it was made. */
export async function requests(facts: Facts): Promise<Findings> {
  const events = await facts.events();
  const pods = new Map((await runningPods(facts)).map((pod) => [pod.metadata.uid, pod]));
  const ours = (await facts.requests()).filter(({ spec }) => spec.signerName.startsWith('kubespiffe.io/'));
  const findings = ours.flatMap((request): Findings => {
    const pod = pods.get(request.spec.podUID);
    if (!pod) return [];
    const lookedAt = `${nameOfPod(pod)}, request ${request.metadata.name}`;
    const isRefresh = pod.status?.phase === 'Running';
    const refused = refusalOf(request);
    if (refused !== undefined) {
      const then = isRefresh ? 'its certificate is no longer renewed' : 'it cannot start';
      return problem(lookedAt, `${refused}: ${then}`, recreate);
    }
    const age = facts.now() - Date.parse(request.metadata.creationTimestamp ?? '') / 1000;
    if (request.status?.conditions?.length || !(age > facts.overdueSeconds)) return [];
    const what = isRefresh ? 'the refresh of its certificate is overdue' : 'it waits to start';
    return problem(lookedAt, `open for ${span(age)}: ${what}`, reasonFor(request, events));
  });
  const good = 'none of a pod that lives is refused or overdue';
  return orElse(findings, ok(counted(ours.length, 'request'), good));
}

/** What to do about a refusal. */
export const recreate = 'correct the pod and recreate it: kubelet does not ask again for this one';

export function refusalOf({ status }: PodCertificateRequest): string | undefined {
  const condition = status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
  return condition && `${condition.type} (${condition.reason}): ${condition.message ?? ''}`;
}

/** What the signer reports about a waiting request. Its Events say what to do. */
function reasonFor({ spec }: PodCertificateRequest, events: readonly EventView[]): string {
  const own = events.filter(({ regarding, action }) => regarding?.uid === spec.podUID && action === 'Wait');
  const last = inOrder(own).at(-1);
  if (last) return `${last.reason}: ${last.note}`;
  return 'the signer has written no Event on it: check that it runs, and see its logs';
}
