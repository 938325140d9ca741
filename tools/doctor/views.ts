import type { WireLabelSelector } from '../../signer/kube/label-selector.ts';
import type { Condition, ObjectMeta } from '../../signer/kube/types.ts';
import type { EventView } from '../cluster/events.ts';

/** The parts of a pod that the checks need. */
export interface PodView {
  metadata: ObjectMeta;
  spec?: {
    nodeName?: string;
    volumes?: {
      name: string;
      projected?: {
        sources?: {
          podCertificate?: { signerName: string };
          clusterTrustBundle?: BundleSource;
        }[];
      };
    }[];
  } & Partial<Record<'containers' | 'initContainers' | 'ephemeralContainers', ContainerView[]>>;
  status?: {
    phase?: string;
    conditions?: Pick<Condition, 'type' | 'status'>[];
    containerStatuses?: { name: string; state?: { waiting?: { reason?: string; message?: string } } }[];
  };
}
interface ContainerView {
  name: string;
  volumeMounts?: { name: string; mountPath: string; subPath?: string; subPathExpr?: string }[];
}
export interface BundleSource {
  name?: string;
  signerName?: string;
  labelSelector?: WireLabelSelector;
  optional?: boolean;
}

export interface NodeView {
  metadata: ObjectMeta;
  status?: { nodeInfo?: { kubeletVersion?: string } };
}

/** When an Event was reported last, in epoch seconds. */
export const reportedAt = ({ series, deprecatedLastTimestamp, eventTime }: EventView): number =>
  Date.parse(series?.lastObservedTime ?? deprecatedLastTimestamp ?? eventTime ?? '') / 1000;

/** The Event that was reported last comes last. */
export const inOrder = (events: readonly EventView[]) =>
  events.toSorted((one, other) => reportedAt(one) - reportedAt(other));

export interface RegistrationView {
  kind: string;
  metadata: ObjectMeta;
  status?: { conditions?: Condition[] };
}
