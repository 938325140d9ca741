import type { InformerSpec } from '../../signer/kube/informer.ts';
import { podCertificateRequests } from '../../signer/kube/resources.ts';
import {
  type CertificatesVersion,
  metadataFields,
  type PodCertificateRequest,
} from '../../signer/kube/types.ts';
import { type CertificateFacts, readableCertificates } from '../../spiffe/pki/certificate.ts';

/** What `keep` makes of each request, without the requests for which it returns undefined. */
export function requestsWith<T>(
  keep: (request: PodCertificateRequest, version: CertificatesVersion) => T | undefined,
): InformerSpec<PodCertificateRequest, T, CertificatesVersion> {
  return {
    resource: podCertificateRequests,
    fields: { metadata: { ...metadataFields, creationTimestamp: true }, spec: true, status: true },
    project: keep,
  };
}

/** The certificates that a request was answered with, the leaf first; empty where there are none. */
export function issuedChain({ status }: PodCertificateRequest): CertificateFacts[] {
  return readableCertificates(status?.certificateChain ?? '');
}
