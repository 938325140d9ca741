import type { SignerEvent } from '../cluster/events.ts';
import type { SignerExplanation } from './pod.ts';
import type { PodExplanation } from './whole-pod.ts';

/** The first signer that the pod asks and that gives it nothing. */
export function blockedIn({ signers }: Pick<PodExplanation, 'signers'>): SignerExplanation | undefined {
  const asked = signers.filter(({ volume }) => volume !== null);
  return (asked.length > 0 ? asked : signers).find(({ verdict }) => verdict.verdict !== 'issue');
}

/** The last Event of the signer, unless what it waited for has come: Kubernetes keeps an Event for an hour. Pure. */
export function lastEventOf(explanation: PodExplanation): SignerEvent | undefined {
  const last = explanation.events.at(-1);
  const isOpen = explanation.requests.some(({ state }) => state === 'Open');
  return last?.isDenial || isOpen || blockedIn(explanation) ? last : undefined;
}

/** The one thing to do now. Pure. */
export function nextFor(explanation: PodExplanation): string {
  const { signers, requests, pod } = explanation;
  if (requests.some(({ state }) => state === 'Denied' || state === 'Failed')) {
    return `kubelet does not repeat a request that was denied: \`kubespiffe explain denial ${pod}\`.`;
  }
  const blocked = blockedIn(explanation);
  if (blocked) {
    return `the ${blocked.verdict.owner} acts on ${blocked.verdict.reason}: docs/reference/outcomes.md#${blocked.verdict.reason.toLowerCase()}`;
  }
  if (signers.every(({ volume }) => volume === null)) {
    return 'add a podCertificate source for the signer to a volume of the pod, unless it only needs tokens.';
  }
  if (requests.some(({ state }) => state === 'Open')) {
    return 'the identity is clear, and a request is open: see the last Event, or `kubespiffe ca show` for the pool.';
  }
  const last = requests.findLast(({ state }) => state === 'Issued');
  const now = signers.find(({ signer, volume }) => signer === last?.signer && volume !== null);
  if (last && now && now.spiffeId !== null && !last.names.includes(now.spiffeId)) {
    return 'nothing to do: the certificate of the pod has another name, and gets this one at its next refresh.';
  }
  return 'nothing to do.';
}
