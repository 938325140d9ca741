/**
 * The Kubernetes objects as sent over the wire, reduced to what we read or write. client-node has no
 * certificates.k8s.io/v1 types, so these are ours. Optional means: the server may leave it out.
 */

/** Group versions of certificates.k8s.io in which PCRs and CTBs may be served, the preferred one first. */
export const certificatesVersions = ['v1', 'v1beta1'] as const;
export type CertificatesVersion = (typeof certificatesVersions)[number];

/** Minimum lifetime of a pod's certificate, in seconds (KEP-4317; validation.go of its certificates API). */
export const minCertificateSeconds = 3600;

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  /** Raised by one with each change of the spec, where the resource counts them. */
  generation?: number;
  /** RFC 3339, whole seconds, UTC. */
  creationTimestamp?: string;
  /** Set once a graceful deletion was asked for. RFC 3339. */
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** What is read of the metadata of every object that is followed. */
export const metadataFields = { name: true, namespace: true, uid: true, resourceVersion: true } as const;

export interface Condition {
  type: string;
  status: string;
  reason: string;
  message?: string;
  lastTransitionTime: string;
}

/** certificates.k8s.io PodCertificateRequest; both served versions fit (KEP-4317). */
export interface PodCertificateRequest {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: {
    signerName: string;
    podName: string;
    podUID: string;
    serviceAccountName: string;
    serviceAccountUID: string;
    nodeName: string;
    nodeUID: string;
    /** Seconds, 3600 to 7862400; the server fills in 86400. */
    maxExpirationSeconds?: number;
    /** Base64 of a PKCS#10 request; null or empty where only pkixPublicKey was sent. */
    stubPKCS10Request?: string | null;
    /** v1beta1 only: base64 of a SubjectPublicKeyInfo. */
    pkixPublicKey?: string | null;
    unverifiedUserAnnotations?: Record<string, string>;
  };
  status?: PodCertificateRequestStatus;
}

export interface PodCertificateRequestStatus {
  conditions?: Condition[];
  /** PEM: leaf, then intermediates. */
  certificateChain?: string;
  /** The three times are RFC 3339 with whole seconds. */
  notBefore?: string;
  beginRefreshAt?: string;
  notAfter?: string;
}

/** certificates.k8s.io ClusterTrustBundle (KEP-3257). */
export interface ClusterTrustBundle {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: { signerName?: string; trustBundle: string };
}

export interface Pod {
  metadata: ObjectMeta;
  spec?: { nodeName?: string; serviceAccountName?: string; hostname?: string; subdomain?: string };
  status?: { phase?: string };
}

export interface Service {
  metadata: ObjectMeta;
  /** `clusterIP` is `None` for a headless Service. */
  spec?: { type?: string; clusterIP?: string; selector?: Record<string, string> };
}

export interface Secret {
  apiVersion?: string;
  kind?: string;
  type?: string;
  metadata: ObjectMeta;
  /** Values are base64. */
  data?: Record<string, string>;
}

export interface ConfigMap {
  metadata: ObjectMeta;
  data?: Record<string, string>;
  /** Values are base64. */
  binaryData?: Record<string, string>;
}

export interface Namespace {
  metadata: ObjectMeta;
  status?: { phase?: string };
}

export interface Lease {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta & {
    /** What it is deleted with. */
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[];
  };
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    /** RFC 3339 with microseconds. */
    acquireTime?: string;
    renewTime?: string;
  };
}

/** An object that an Event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for an object of the cluster, whose Events are in the namespace default. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** meta/v1 Status: the body of an error answer. */
export interface Status {
  kind?: string;
  message?: string;
  reason?: string;
  code?: number;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    causes?: { reason?: string; message?: string; field?: string }[];
    retryAfterSeconds?: number;
  };
}
