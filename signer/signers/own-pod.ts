import type { RecordedEvent } from '../kube/event-backlog.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { PodFacts } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';

/** What Events on the signer's own pod take. */
export interface OwnPod {
  readonly events: Pick<EventRecorder, 'record'>;
  readonly pods: Pick<Store<PodFacts>, 'get'>;
  /** Where the signer's own pod is, and its name. */
  readonly namespace: string;
  readonly replica: string;
}

/** Writes an Event on the signer's own pod. @returns false if there is no such pod, as outside of a cluster. */
export function recordOnOwnPod(
  { events, pods, namespace, replica: name }: OwnPod,
  event: Omit<RecordedEvent, 'regarding'>,
): boolean {
  const uid = pods.get(`${namespace}/${name}`)?.uid;
  if (uid === undefined) return false;
  const regarding = { apiVersion: 'v1', kind: 'Pod', namespace, name, uid };
  events.record({ ...event, key: `${uid}/${event.key}`, regarding });
  return true;
}
