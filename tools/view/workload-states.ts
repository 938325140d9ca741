/**
 * What a pod has from a signer:
 *
 *   issued   a request shows its certificate.
 *   waiting  a request is open.
 *   denied   the last request was denied; kubelet does not ask again.
 *   named    it gets a name, and no request is left that shows the certificate (Kubernetes deletes them after some 15 min).
 *   tokens   it gets a name, and has no volume: only the token endpoint can give it an identity.
 *   unnamed  its volume asks for a certificate, and it gets no name. One that it has already stays until it ends.
 */
export const workloadStates = ['waiting', 'denied', 'unnamed', 'issued', 'named', 'tokens'] as const;
export type WorkloadState = (typeof workloadStates)[number];
