import type { InformerSpec } from '../../signer/kube/informer.ts';
import { metadataFields } from '../../signer/kube/types.ts';

interface WireEvent {
  regarding?: { namespace?: string; name?: string; uid?: string };
  reason?: string;
  note?: string;
  action?: string;
  reportingController?: string;
  eventTime?: string | null;
  series?: { count?: number; lastObservedTime?: string } | null;
}

/** What the signer said about a pod. */
export interface SignerEvent {
  /** `namespace/name` of the pod. */
  readonly pod: string;
  readonly uid: string;
  /** A code of docs/reference/outcomes.md. */
  readonly reason: string;
  readonly message: string;
  readonly isDenial: boolean;
  /** RFC 3339: when it was said last. */
  readonly at: string;
}

/** The Events of the signer. Kubernetes keeps an Event for an hour, unless the API server is configured otherwise. */
export const signerEvents: InformerSpec<WireEvent, SignerEvent> = {
  resource: { group: 'events.k8s.io', versions: ['v1'], name: 'events' },
  fields: {
    metadata: metadataFields,
    ...{ regarding: true, reason: true, note: true, action: true, reportingController: true },
    ...{ eventTime: true, series: true },
  },
  project({ regarding = {}, reason = '', note = '', action, reportingController, eventTime, series }) {
    if (reportingController !== 'kubespiffe.io/signer') return undefined;
    const { namespace = '', name = '', uid = '' } = regarding;
    const at = series?.lastObservedTime ?? eventTime ?? '';
    return { pod: `${namespace}/${name}`, uid, reason, message: note, isDenial: action === 'Deny', at };
  },
};
