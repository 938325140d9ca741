import type { InformerSpec } from '../../signer/kube/informer.ts';
import { metadataFields, type ObjectMeta } from '../../signer/kube/types.ts';

/** An Event of the signer or of a kubelet. */
export interface EventView {
  metadata: ObjectMeta;
  regarding?: { namespace?: string; name?: string; uid?: string };
  related?: { name?: string };
  reason?: string;
  note?: string;
  /** What the signer did: Deny or Wait. Kubelets give none. */
  action?: string;
  reportingController?: string;
  eventTime?: string | null;
  series?: { lastObservedTime?: string } | null;
  /** When a kubelet reported it last. */
  deprecatedLastTimestamp?: string | null;
}

/** All Events. Kubernetes keeps an Event for an hour, unless the API server is configured otherwise. */
export const allEvents: Pick<InformerSpec<EventView, never>, 'resource' | 'fields'> = {
  resource: { group: 'events.k8s.io', versions: ['v1'], name: 'events' },
  fields: {
    metadata: metadataFields,
    ...{ regarding: true, related: true, reason: true, note: true, action: true, reportingController: true },
    ...{ eventTime: true, series: true, deprecatedLastTimestamp: true },
  },
};

/** What the signer said about a pod. */
export interface SignerEvent {
  /** `namespace/name` of the pod. */
  readonly pod: string;
  readonly uid: string;
  /** A code of docs/reference/outcomes.md. */
  readonly reason: string;
  readonly message: string;
  readonly isDenial: boolean;
  /** The request that it was said about first; a later one of the pod for the same reason has no Event of its own. */
  readonly request?: string;
  /** RFC 3339: when it was said last. */
  readonly at: string;
}

/** The Events of the signer. */
export const signerEvents: InformerSpec<EventView, SignerEvent> = {
  ...allEvents,
  project(wire) {
    const { regarding = {}, related, reason = '', note = '', action, reportingController } = wire;
    if (reportingController !== 'kubespiffe.io/signer') return undefined;
    const { namespace = '', name = '', uid = '' } = regarding;
    return {
      ...{ pod: `${namespace}/${name}`, uid, reason, message: note, isDenial: action === 'Deny' },
      ...(related?.name !== undefined && { request: related.name }),
      at: wire.series?.lastObservedTime ?? wire.eventTime ?? '',
    };
  },
};
