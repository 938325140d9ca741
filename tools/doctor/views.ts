import type { WireLabelSelector } from '../../signer/kube/label-selector.ts';
import type { Condition, ObjectMeta } from '../../signer/kube/types.ts';

/** A pod, as far as the checks need it. */
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

/** A Warning of the signer or of a kubelet. */
export interface EventView {
  metadata: ObjectMeta;
  regarding?: { uid?: string };
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

/** When it was reported last, in epoch seconds. */
export const reportedAt = ({ series, deprecatedLastTimestamp, eventTime }: EventView): number =>
  Date.parse(series?.lastObservedTime ?? deprecatedLastTimestamp ?? eventTime ?? '') / 1000;

export interface RegistrationView {
  kind: string;
  metadata: ObjectMeta;
  status?: { conditions?: Condition[] };
}

export interface DeploymentView {
  metadata: ObjectMeta;
  spec?: { replicas?: number; template?: { spec?: { serviceAccountName?: string } } };
}
