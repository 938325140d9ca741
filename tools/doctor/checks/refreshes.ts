import type { EventView } from '../../cluster/events.ts';
import { span } from '../../output.ts';
import { type Finding, type Findings, ok, orElse, problem, warning } from '../check.ts';
import type { Facts } from '../facts.ts';
import { inOrder, type PodView, reportedAt } from '../views.ts';
import { nameOfPod, runningPods, signersAsked, withCertificate } from './pods.ts';
import { recreate, refusalOf } from './requests.ts';

/**
 * Certificates that are no longer renewed, by the Events of the signer and of kubelets. Kubernetes deletes a request some
 * 15 minutes after it was made, and keeps an Event for an hour after it was reported last. A kubelet reports a refusal
 * about every two minutes as long as the pod exists, and a late refresh once.
 */
export async function refreshes(facts: Facts): Promise<Findings> {
  const pods = (await runningPods(facts)).filter((pod) => signersAsked(pod).length > 0);
  const events = Map.groupBy(await facts.events(), ({ regarding }) => regarding?.uid ?? '');
  const requests = await shownRequests(facts);
  const findings = pods.flatMap((pod): Findings => {
    const { isOpen, isRefused, issuedAt } = requests(pod);
    const own = (events.get(pod.metadata.uid ?? '') ?? []).filter((event) => reportedAt(event) > issuedAt);
    const refusal = isRefused ? undefined : lastOf(own, isRefusal);
    if (refusal) return refused(pod, refusal, facts.now());
    const late = isOpen || isRefused ? undefined : lastOf(own, isLate);
    return late ? notRenewed(pod, late, facts.now()) : [];
  });
  const good = 'no Event of the last hour says that one is refused or was not renewed in time';
  return orElse(findings, ok(withCertificate(pods), good));
}

/** What the requests that are left show of a pod; the check `requests` reports what is wrong with them. */
async function shownRequests(facts: Facts) {
  const ofPod = Map.groupBy(await facts.requests(), ({ spec }) => spec.podUID);
  return ({ metadata }: PodView) => {
    const own = ofPod.get(metadata.uid ?? '') ?? [];
    const issued = own.filter(({ status }) => status?.certificateChain);
    return {
      isOpen: own.some(({ status }) => !status?.conditions?.length),
      isRefused: own.some((request) => refusalOf(request) !== undefined),
      /** Epoch seconds; -Infinity for never. */
      issuedAt: Math.max(
        ...issued.map((request) => Date.parse(request.metadata.creationTimestamp ?? '') / 1000),
      ),
    };
  };
}

function lastOf(events: readonly EventView[], is: (event: EventView) => boolean): EventView | undefined {
  return inOrder(events.filter(is)).at(-1);
}

/** The signer reports a refusal, the kubelet repeats it, and then fails to mount the volume. */
function isRefusal({ reportingController, action, reason, note = '' }: EventView): boolean {
  if (reportingController !== 'kubelet') return action === 'Deny';
  if (reason === 'FailedMount') return /PodCertificateRequest was permanently (denied|failed)/.test(note);
  return reason === 'Denied' || reason === 'Failed' ? note.includes('PodCertificateRequest') : false;
}

const isLate = ({ reportingController, reason }: EventView) =>
  reportingController === 'kubelet' &&
  (reason === 'CertificateOverdueForRefresh' || reason === 'CertificateExpired');

function refused(pod: PodView, event: EventView, now: number): Finding {
  const then = pod.status?.phase === 'Running' ? 'its certificate is no longer renewed' : 'it cannot start';
  const found = `refused, as reported ${span(now - reportedAt(event))} ago (${event.reason}): ${then}. ${event.note}`;
  return problem(nameOfPod(pod), found, recreate);
}

function notRenewed(pod: PodView, event: EventView, now: number): Finding {
  const what = event.reason === 'CertificateExpired' ? 'its certificate expired' : 'its refresh was overdue';
  const found = `${what}, as its kubelet reported ${span(now - reportedAt(event))} ago, and no request is left that shows a newer one`;
  const remedy =
    'look at the certificate in the pod, and at `kubelet_podcertificate_states` in the metrics of its kubelet; if it is old, see the log of the kubelet';
  return warning(nameOfPod(pod), found, remedy);
}
