import { Status as status } from '@grpc/grpc-js/build/src/constants.js';

/** A status other than OK, as grpc-js takes it (gRPC status codes; Workload Endpoint 6). */
export interface Refusal {
  readonly code: status;
  readonly details: string;
}

const refusalWith = (code: status) => (details: string) => ({ code, details });
export const invalid = refusalWith(status.INVALID_ARGUMENT);
export const unavailable = refusalWith(status.UNAVAILABLE);
export const notFound = refusalWith(status.NOT_FOUND);
const denied = refusalWith(status.PERMISSION_DENIED);

/** Every refusal of the Workload API that needs no detail of the case. */
export const refusals = {
  headerMissing: invalid(
    'the metadata workload.spiffe.io: true is missing; a SPIFFE client library sends it (SPIFFE Workload Endpoint 3)',
  ),
  notReady: unavailable('the credentials of this workload are not read yet; try again in a moment'),
  noIdentity: denied(
    'this workload has no identity; check the podCertificate volume of the pod and its Events',
  ),
  notThatIdentity: denied(
    'this workload has no identity with the requested spiffe_id; leave spiffe_id empty to get the JWT-SVIDs that it has',
  ),
  renamed: denied(
    'the token endpoint has another name for this workload than its certificate, so its registration has changed; leave spiffe_id empty, or request the new SPIFFE ID',
  ),
  noBundles: denied('this workload has no trust bundle; check the clusterTrustBundle volume of the pod'),
  noJwtKeys: denied(
    'this workload has no JWT keys of any trust domain; check --token-endpoint of the Workload API',
  ),
  noTokens: refusalWith(status.UNIMPLEMENTED)(
    'this Workload API gives no JWT-SVIDs; start it with --token-endpoint',
  ),
  tooManyStreams: refusalWith(status.RESOURCE_EXHAUSTED)(
    'too many streams are open; close those that are not needed',
  ),
} satisfies Record<string, Refusal>;
