import { supportedSubjectKeys } from '../pki/keys.ts';
import type { ProvedOwner } from './caller/caller.ts';

/**
 * The one table of what the token endpoint answers when it gives nothing. A row is what the HTTP answer, the
 * metric, the audit line, the Event and the documentation (docs/reference/token-endpoint.md has a heading for each
 * code) have in common.
 */

/** RFC 6749 5.2 and RFC 8693 2.2.2; the last two are those of RFC 6749 4.1.2.1. */
export type OAuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_target'
  | 'unsupported_grant_type'
  | 'temporarily_unavailable'
  | 'server_error';

/** `deny`: the same request would be refused again. `wait`: it may be repeated after Retry-After. */
export interface Refusal {
  readonly verdict: 'deny' | 'wait';
  readonly status: number;
  readonly error: OAuthError;
  /** What is wrong; `{}` is replaced by the detail of the case. */
  readonly problem: string;
  /** What the person does about it; begins with a verb. */
  readonly remedy: string;
  /** Whether only a fault of ours or an attack brings it about. */
  readonly alarm: boolean;
}

type Row = (problem: string, remedy: string, more?: Partial<Refusal>) => Refusal;

const deny: Row = (problem, remedy, more) => ({
  verdict: 'deny',
  status: 400,
  error: 'invalid_request',
  alarm: false,
  problem,
  remedy,
  ...more,
});
const client: Row = (problem, remedy, more) => deny(problem, remedy, { error: 'invalid_client', ...more });
const target: Row = (problem, remedy) => deny(problem, remedy, { error: 'invalid_target' });
const wait: Row = (problem, remedy, more) => ({
  verdict: 'wait',
  status: 503,
  error: 'temporarily_unavailable',
  alarm: false,
  problem,
  remedy,
  ...more,
});
const limit: Row = (problem, remedy) => wait(problem, remedy, { status: 429 });

const sendTheFile = 'send the content of the projected file as it is';
const ofARunningPod = 'use the credential of a pod that runs';
const renewed = 'create the pod anew, or wait until its certificate is renewed';

export const refusals = {
  RouteUnknown: deny('There is nothing here', 'see the documentation of the token endpoint', { status: 404 }),
  RequestMalformed: deny('The request cannot be read: {}', 'send it as the documentation of the path has it'),
  RequestTooLarge: deny('The request is too large: {}', 'send less', { status: 413 }),
  RequestTooSlow: deny('The request did not arrive within 10 seconds', 'send it whole and at once', {
    status: 408,
  }),
  ParameterMissing: deny('The parameter {} is missing', 'send it'),
  ParameterRepeated: deny('The parameter {} is there twice', 'send it once'),
  ParameterUnsupported: deny('The parameter {} is not supported', 'leave it out'),
  GrantTypeUnsupported: deny(
    'The grant_type is not supported',
    'send urn:ietf:params:oauth:grant-type:token-exchange',
    { error: 'unsupported_grant_type' },
  ),
  TokenTypeUnsupported: deny('The {} is not supported', 'send urn:ietf:params:oauth:token-type:jwt'),
  CredentialsRepeated: deny('The request carries more than one credential ({})', 'send one'),

  TokenMissing: deny('The ServiceAccount token is missing', 'send it as {}'),
  TokenMalformed: deny('The ServiceAccount token {}', sendTheFile),
  AlgorithmUnsupported: deny(
    'The ServiceAccount token is signed with {}',
    'have the API server sign with one of RS256, RS384, RS512, PS256, ES256, ES384 and ES512',
  ),
  AlgorithmPostQuantum: deny(
    'The ServiceAccount token is signed with {}, which is not supported yet',
    'have the API server sign with RS256 or ES256',
  ),
  SignatureInvalid: deny('The signature of the ServiceAccount token is wrong', sendTheFile),
  IssuerUnknown: deny(
    'The ServiceAccount token is from another issuer than this cluster ({})',
    'use a token of this cluster, and put an issuer that it had before into the setting serviceAccountIssuers',
  ),
  AudienceWrong: deny(
    'The ServiceAccount token is not for this endpoint alone',
    'project one with the audience {} and no other',
  ),
  TokenExpired: deny('The ServiceAccount token has expired', 'read the projected file anew for each request'),
  TokenNotYetValid: deny('The ServiceAccount token is not valid yet', 'see whether the clocks agree'),
  LegacyToken: deny(
    'This is a ServiceAccount token from a Secret, which belongs to no pod and never ends',
    'project a token volume into the pod instead',
  ),
  NotBoundToPod: deny(
    'The ServiceAccount token is not bound to a pod ({})',
    'project a token volume into the pod',
  ),
  ClaimsMalformed: deny(
    'The ServiceAccount token has the claim {} in another form than Kubernetes writes it',
    'use a token that kubelet has projected',
  ),
  TokenRefused: deny(
    'The API server refuses the ServiceAccount token ({})',
    'read the projected file anew, in a pod that still runs',
  ),
  ReviewDisagrees: deny(
    'The API server reads the ServiceAccount token otherwise than we do ({})',
    'report this to the administrator of the cluster',
    { alarm: true },
  ),
  TokenEndsTooSoon: deny(
    'The ServiceAccount token or certificate has less than 30 seconds left, and nothing that it gives may outlive it',
    'read the projected file anew',
  ),

  CredentialMissing: client(
    'The request carries no credential',
    'send a ServiceAccount token as Authorization: Bearer, or call with a client certificate',
  ),
  SessionResumed: client(
    'The TLS session was resumed, so the key of the client certificate was not proved anew',
    'open a new connection without resumption',
  ),
  CertificateMalformed: client(
    'The client certificate cannot be read: {}',
    'use the one that kubelet has projected',
  ),
  CertificateUntrusted: client(
    'The client certificate is not signed by a CA of this trust domain that is in its bundles now',
    renewed,
  ),
  CertificateTainted: client('The client certificate is signed by a CA that is tainted', renewed),
  CertificateExpired: client(
    'The client certificate has expired',
    'read the projected file anew for each connection',
  ),
  CertificateNotYetValid: client('The client certificate is not valid yet', 'see whether the clocks agree'),
  CertificateNotSvid: client(
    'The client certificate breaks a rule of SPIFFE ({})',
    'use the one that kubelet has projected',
  ),
  CertificateOfInfrastructure: client(
    'The client certificate belongs to the infrastructure of kubespiffe, which gets no JWT-SVIDs',
    'use the certificate of a pod',
    { alarm: true },
  ),
  CertificateWithoutPod: client(
    'The client certificate does not name its pod: {}',
    'switch the setting leafPodIdentity on, and create the pod anew',
  ),
  CertificateNotOfPod: client(
    'The SPIFFE ID of the client certificate is not the one that its pod has now ({})',
    'use a renewed certificate',
    { alarm: true },
  ),

  PodGone: deny('The pod that the credential belongs to is gone ({})', ofARunningPod),
  PodReplaced: deny(
    'Another pod has the name of the pod that the credential belongs to now ({})',
    ofARunningPod,
  ),
  PodFinished: deny('The pod that the credential belongs to has finished ({})', ofARunningPod),
  PodDeleted: deny('The pod that the credential belongs to is past its deletion time ({})', ofARunningPod),
  ServiceAccountMismatch: deny(
    'The pod that the credential belongs to runs under another ServiceAccount than the credential names ({})',
    'report this to the administrator of the cluster',
    { alarm: true },
  ),
  IdentityInvalid: deny(
    'No SPIFFE ID can be made for this pod ({})',
    'choose shorter names for its namespace and ServiceAccount',
  ),

  AudienceMissing: deny(
    'The parameter audience is missing or empty',
    'say with it for whom the JWT-SVID is meant',
  ),
  AudienceMalformed: target('The audience {}', 'send the one that the receiver of the JWT-SVID expects'),
  AudienceTooMany: target('At most {} audience(s) may be asked for at once', 'ask for a JWT-SVID for each'),
  AudienceForbidden: target(
    'A JWT-SVID for the audience of the API server, or of this endpoint itself, is never issued',
    'ask for the audience of the service that you call',
  ),
  AudienceNotAllowed: target(
    'The policy of this cluster does not allow the audience',
    'ask for another, or have it added to the setting jwtAudiences',
  ),

  CsrUnreadable: deny('The certificate request cannot be read: {}', 'send one PKCS#10 request, DER or PEM'),
  CsrSignatureInvalid: deny(
    'The signature of the certificate request {}',
    'sign it with the key that is in it',
  ),
  UnsupportedKeyType: deny(
    'The key of the certificate request is {}',
    `make one of ${supportedSubjectKeys.map(({ name }) => name).join(', ')}`,
  ),

  PodUnavailable: wait('The pod could not be looked up ({})', 'try again'),
  ReviewUnavailable: wait('The API server does not review ServiceAccount tokens now ({})', 'try again'),
  ReviewForbidden: wait(
    'The API server does not let the signer review ServiceAccount tokens',
    'have the administrator apply the RBAC of manifests/token-endpoint',
    { alarm: true },
  ),
  NotReady: wait('The endpoint is not ready yet ({})', 'try again'),
  SigningUnavailable: wait('Nothing can be signed now: {}', 'try again'),

  PodLimited: limit('The pod asks too often', 'keep what it was given for half of its life'),
  AddressLimited: limit('Too many requests come from this address', 'try again'),
  ReviewLimited: limit(
    'The key of the ServiceAccount token is not published by the API server, and such tokens are reviewed at a ' +
      'limited rate',
    'try again',
  ),
  Overloaded: wait('The endpoint is busy', 'try again'),
  Fault: wait(
    'The endpoint failed, which is a fault of the signer',
    'report it, with the log of the signer',
    {
      status: 500,
      error: 'server_error',
      alarm: true,
    },
  ),
} as const satisfies Record<string, Refusal>;

export type RefusalCode = keyof typeof refusals;

/** The whole sentence of a row, before the detail of a case is filled in. */
export function sentenceOf(code: RefusalCode): string {
  const { problem, remedy } = refusals[code];
  return `${problem}; ${remedy}.`;
}

/** What a step that may refuse returns. `detail` fills the sentence of the row. */
export interface Refused {
  readonly ok: false;
  readonly code: RefusalCode;
  readonly detail: string;
  /** Whose request it was, where its credential proves that although it gives nothing. */
  readonly owner?: ProvedOwner;
}
export type Checked<T> = { readonly ok: true; readonly value: T } | Refused;

export const pass = <T>(value: T): Checked<T> => ({ ok: true, value });
export const refuse = (code: RefusalCode, detail = ''): Refused => ({ ok: false, code, detail });

const maxDetail = 300;

/**
 * The sentence of a refusal as an `error_description`, which may hold neither quotes nor backslashes nor anything
 * outside of printable ASCII (RFC 6749 5.2).
 */
export function describe({ code, detail }: Pick<Refused, 'code' | 'detail'>): string {
  return sentenceOf(code)
    .replace('{}', () => detail.slice(0, maxDetail))
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/g, '?');
}
