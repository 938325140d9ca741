import { once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { chosenServices, servicesAnnotation } from '../identity/chosen-services.ts';
import { namesFrom } from '../identity/service-names.ts';
import type { PodService, Services } from '../identity/services.ts';
import type { EventRecorder } from '../kube/events.ts';
import { keysSelected } from '../kube/label-index.ts';
import { selects } from '../kube/label-selector.ts';
import type { Membership } from '../kube/membership.ts';
import type { PodCertificateSource, PodFacts } from '../kube/pods.ts';
import { ranking } from '../kube/ranking.ts';
import type { ServiceFacts } from '../kube/services.ts';
import type { Change, Store } from '../kube/store.ts';
import type { Part } from './profile.ts';

export interface LackingNamesNeeds {
  readonly signerName: string;
  readonly pods: Pick<Store<PodFacts>, 'get' | 'keysBy' | 'subscribe'>;
  readonly services: Pick<Store<ServiceFacts>, 'isSynced' | 'subscribe'>;
  /** The same Services, by what they select. */
  readonly index: Services;
  readonly domains: readonly string[];
  /** Within how many seconds after a certificate kubelet requests the next one. */
  readonly refreshSeconds: number;
  readonly membership: Pick<Membership, 'members' | 'self'>;
  readonly events: Pick<EventRecorder, 'record'>;
}

/**
 * Writes an Event on each running pod whose certificate lacks a name because a Service selects the pod only since it was
 * issued. The replica that ranks first for the pod writes it. Only changes that it sees count: once a request is gone,
 * nothing in the cluster says which names its certificate has.
 */
export function createLackingNames(needs: LackingNamesNeeds): Part {
  const { signerName, pods, services, index, domains, membership, events } = needs;
  const hours = Math.ceil(needs.refreshSeconds / 3600);

  function compare(podKey: string, pod: PodFacts, now: PodService, before: PodService | undefined): void {
    if (!pod.isRunning || !pod.certificateSources?.some((source) => mayHave(source, signerName, now.name)))
      return;
    const [namespace = '', name = ''] = podKey.split('/');
    const had = before ? namesFrom(before, { namespace, facts: pod }, domains) : [];
    const lacking = namesFrom(now, { namespace, facts: pod }, domains).filter((each) => !had.includes(each));
    if (lacking.length === 0 || ranking(pod.uid, membership.members())[0] !== membership.self) return;
    events.record({
      key: `${pod.uid}/${signerName}/${now.name}`,
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid: pod.uid },
      type: 'Warning',
      reason: 'CertificateLacksNames',
      action: 'Refresh',
      note:
        `The certificate of ${signerName} lacks ${lacking.join(', ')}: Service ${now.name} changed after it was issued. ` +
        `The next certificate has the name, within ${hours} h; recreate the pod to get it now.`,
    });
  }

  function onService({ type, key, object, previous }: Change<ServiceFacts>): void {
    // The first list is no change, and after each list all objects are set again.
    if (type === 'delete' || !services.isSynced() || isDeepStrictEqual(object, previous)) return;
    const [namespace = '', name = ''] = key.split('/');
    for (const podKey of keysSelected(pods, namespace, object.selector)) {
      const pod = pods.get(podKey);
      if (!pod) continue;
      const hadBefore = previous && selects(previous.selector, pod.labels);
      compare(podKey, pod, { name, ...object }, hadBefore ? { name, ...previous } : undefined);
    }
  }

  function onPod({ type, key, object: pod, previous }: Change<PodFacts>): void {
    if (type === 'delete' || !pod.isRunning || previous?.uid !== pod.uid) return;
    if (isDeepStrictEqual(pod.labels, previous.labels)) return;
    const namespace = key.slice(0, key.indexOf('/'));
    for (const service of index.selecting(namespace, pod.labels)) {
      const before = index.find(namespace, service.name, previous.labels);
      compare(key, pod, service, typeof before === 'string' ? undefined : before);
    }
  }

  return {
    async run(signal) {
      const ends = [services.subscribe(onService), pods.subscribe(onPod)];
      if (!signal.aborted) await once(signal, 'abort');
      for (const end of ends) end();
    },
  };
}

/** Whether the certificate of a source may have the names of a Service. */
function mayHave(
  { signerName, userAnnotations }: PodCertificateSource,
  signer: string,
  service: string,
): boolean {
  if (signerName !== signer) return false;
  const { [servicesAnnotation]: choice } = userAnnotations;
  if (choice === undefined) return true;
  const chosen = chosenServices(choice);
  return chosen.ok && chosen.value.includes(service);
}
