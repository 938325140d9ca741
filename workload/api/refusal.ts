import { Status as status } from '@grpc/grpc-js/build/src/constants.js';

/** A status other than OK, as grpc-js takes it (gRPC status codes; Workload Endpoint 6). */
export interface Refusal {
  readonly code: status;
  readonly details: string;
}

/** Every refusal of the Workload API that needs no detail of the case. */
export const refusals = {
  headerMissing: {
    code: status.INVALID_ARGUMENT,
    details:
      'the metadata workload.spiffe.io: true is missing; a SPIFFE client library sends it (SPIFFE Workload Endpoint 3)',
  },
  notReady: {
    code: status.UNAVAILABLE,
    details: 'the credentials of this workload are not read yet; try again in a moment',
  },
  noIdentity: {
    code: status.PERMISSION_DENIED,
    details: 'this workload has no identity; check the podCertificate volume of the pod and its Events',
  },
  noBundles: {
    code: status.PERMISSION_DENIED,
    details: 'this workload has no trust bundle; check the clusterTrustBundle volume of the pod',
  },
  noJwtKeys: {
    code: status.PERMISSION_DENIED,
    details: 'this workload has no JWT keys of any trust domain; check --token-endpoint of the Workload API',
  },
  noTokens: {
    code: status.UNIMPLEMENTED,
    details: 'this Workload API gives no JWT-SVIDs; start it with --token-endpoint',
  },
  tooManyStreams: {
    code: status.RESOURCE_EXHAUSTED,
    details: 'too many streams are open; close those that are not needed',
  },
} as const satisfies Record<string, Refusal>;

export const invalid = (details: string): Refusal => ({ code: status.INVALID_ARGUMENT, details });
export const unavailable = (details: string): Refusal => ({ code: status.UNAVAILABLE, details });
export const notFound = (details: string): Refusal => ({ code: status.NOT_FOUND, details });
