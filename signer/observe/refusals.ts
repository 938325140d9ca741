import { serviceAccountAlgorithms } from '../../spiffe/jwt-algorithms.ts';
import { subjectKeyTypes } from '../../spiffe/pki/algorithms.ts';
import {
  callers,
  client,
  deny,
  everything,
  jwts,
  limit,
  type Refusal,
  svids,
  target,
  wait,
} from './refusal-rows.ts';

/**
 * The table of refusals of the token endpoint. A row is what the HTTP answer, the OpenAPI document, the metric, the audit
 * line, the Event and the documentation (docs/reference/token-endpoint.md has a heading for each code) have in common.
 */

const sendTheFile = 'send the content of the projected file unchanged';
const readAgain = 'read the projected file again';
const later = 'try again after the time in Retry-After';
const checkClocks = 'check time synchronisation (NTP) of the API server and of the signer';
const certificates = { at: ['x509-svid'] } as const;
const ofARunningPod = 'use the credential of a running pod';

export const refusals = {
  RouteUnknown: deny(
    'The endpoint has no such path, or not with this method',
    'see docs/reference/token-endpoint.md',
    { status: 404, at: [] },
  ),
  RequestMalformed: deny(
    'The request cannot be read: {}',
    'send it in the form that docs/reference/token-endpoint.md describes',
  ),
  RequestTooLarge: deny('The request is too large: {}', 'send less', { status: 413, at: svids }),
  RequestTooSlow: deny(
    'The request did not arrive within 10 seconds',
    'send the whole request at once, on a new connection',
    { status: 408, at: everything },
  ),
  ParameterMissing: deny('The parameter {} is missing', 'send it', { at: ['exchange'] }),
  ParameterRepeated: deny('The parameter {} occurs more than once', 'send it once', { at: ['exchange'] }),
  ParameterUnsupported: deny('The parameter {} is not supported', 'leave it out', { at: jwts }),
  GrantTypeUnsupported: deny(
    'The grant_type is not supported',
    'send urn:ietf:params:oauth:grant-type:token-exchange',
    { error: 'unsupported_grant_type', at: ['exchange'] },
  ),
  TokenTypeUnsupported: deny('The {} is not supported', 'send urn:ietf:params:oauth:token-type:jwt', {
    at: ['exchange'],
  }),
  CredentialsRepeated: deny('The request carries more than one credential ({})', 'send only one'),

  TokenMissing: deny('The ServiceAccount token is missing', 'send it as {}'),
  TokenMalformed: deny('The ServiceAccount token {}', sendTheFile),
  AlgorithmUnsupported: deny(
    'The ServiceAccount token is signed with {}',
    `send the token that kubelet has projected. The API server must sign it with one of ${serviceAccountAlgorithms.join(', ')}`,
  ),
  AlgorithmPostQuantum: deny(
    'The ServiceAccount token is signed with {}, which is not supported yet',
    'ask the cluster administrator to configure the API server with a key for RS256 or ES256',
  ),
  SignatureInvalid: deny('The signature of the ServiceAccount token is wrong', sendTheFile),
  IssuerUnknown: deny(
    'The ServiceAccount token is from another issuer than this cluster ({})',
    'use a token of this cluster. If the issuer of the cluster has changed, add the previous one to the setting ' +
      'serviceAccountIssuers',
  ),
  AudienceWrong: deny(
    'The ServiceAccount token is not for this endpoint alone',
    'project one with the audience {} and no other',
  ),
  TokenExpired: deny(
    'The ServiceAccount token has expired',
    'read the projected file again for each request',
  ),
  TokenNotYetValid: deny('The ServiceAccount token is not valid yet', checkClocks),
  LegacyToken: deny(
    'This is a ServiceAccount token from a Secret, which is bound to no pod and never expires',
    'use a projected serviceAccountToken volume instead',
  ),
  NotBoundToPod: deny(
    'The ServiceAccount token is not bound to a pod ({})',
    'use a projected serviceAccountToken volume',
  ),
  ClaimsMalformed: deny(
    'The claim {} of the ServiceAccount token is not in the form that Kubernetes writes',
    'use a token that kubelet has projected',
  ),
  TokenRefused: deny(
    'The API server refuses the ServiceAccount token ({})',
    'read the projected file again, in a running pod',
  ),
  ReviewDisagrees: deny(
    'The API server and the signer read the ServiceAccount token differently ({})',
    'report this to the cluster administrator',
    { alarm: true },
  ),
  TokenEndsTooSoon: deny(
    'The ServiceAccount token or certificate has less than 30 seconds left, and nothing that is issued for it may outlive it',
    readAgain,
    { at: svids },
  ),

  CredentialMissing: client(
    'The request carries no credential',
    'send a ServiceAccount token as Authorization: Bearer, or call with a client certificate',
    { at: ['jwt-svid'] },
  ),
  SessionResumed: client(
    'The TLS session was resumed, so the client did not prove that it has the private key',
    'disable session resumption in the TLS client',
    { at: callers },
  ),
  CertificateMalformed: client(
    'The client certificate cannot be read: {}',
    'use the one that kubelet has projected',
  ),
  CertificateUntrusted: client(
    'The client certificate is not signed by a CA that is in the bundles of this trust domain now',
    'use the certificate of a pod of this cluster. If its CA was replaced, recreate the pod',
  ),
  CertificateTainted: client(
    'The client certificate is signed by a CA that is tainted',
    'recreate the pod once another CA is active. Before that a new pod gets no certificate',
  ),
  CertificateExpired: client(
    'The client certificate has expired',
    'read the projected file again for each connection',
  ),
  CertificateNotYetValid: client('The client certificate is not valid yet', checkClocks),
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
    'set the setting leafPodIdentity to true and recreate the pod',
  ),
  CertificateNotOfPod: client(
    'The SPIFFE ID of the client certificate is not the one that its pod has now ({})',
    'read the projected file again. After a change of registrations, use the ServiceAccount token until the certificate ' +
      'was refreshed',
  ),

  PodGone: deny('The pod that the credential belongs to is gone ({})', ofARunningPod),
  PodReplaced: deny(
    'The pod that the credential belongs to was replaced by another one of its name ({})',
    ofARunningPod,
  ),
  PodFinished: deny('The pod that the credential belongs to has finished ({})', ofARunningPod),
  PodDeleted: deny('The pod that the credential belongs to is past its deletion time ({})', ofARunningPod),
  ServiceAccountMismatch: deny(
    'The pod that the credential belongs to runs under another ServiceAccount than the credential names ({})',
    'report this to the cluster administrator',
    { alarm: true },
  ),
  IdentityInvalid: deny(
    'No SPIFFE ID can be made for this pod ({})',
    'correct the registration that it names, or the names, labels and annotations of the pod',
  ),
  NotRegistered: deny(
    'No registration matches this pod, and this cluster gives identities only to registered pods ({})',
    'add the label that is missing, or create a WorkloadRegistration that selects the pod',
  ),
  RegistrationAmbiguous: deny(
    'Several registrations of the same priority match this pod ({})',
    'send the registration that is meant, or give one of them a higher priority',
  ),
  RegistrationNotMatching: deny(
    'The registration that was asked for cannot be used for this pod ({})',
    'send another one, or correct the registration or the labels of the pod',
  ),

  AudienceMissing: deny(
    'The parameter audience is missing or empty',
    'set it to the service that receives the JWT-SVID',
    { at: jwts },
  ),
  AudienceMalformed: target('The audience {}', 'send the audience that the receiver of the JWT-SVID expects'),
  AudienceTooMany: target(
    'A JWT-SVID may have at most {} audience(s)',
    'request one JWT-SVID for each audience',
  ),
  AudienceForbidden: target(
    'A JWT-SVID for the audience of the API server, or of this endpoint itself, is never issued',
    'request the audience of the service that you call',
  ),
  AudienceNotAllowed: target(
    'The audience is not one that {} allows',
    'request another one, or ask the administrator to add it there',
  ),

  TrustDomainNotFederated: deny(
    'There is no bundle for the caller ({})',
    'ask the cluster administrator for a FederatedTrustDomain, and for federatesWith in the registration of the pod',
    { status: 404, at: ['bundle-of'] },
  ),

  CsrUnreadable: deny(
    'The certificate request cannot be read: {}',
    'send one PKCS#10 request, DER or PEM',
    certificates,
  ),
  CsrSignatureInvalid: deny(
    'The signature of the certificate request {}',
    'sign it with the key that is in it',
    certificates,
  ),
  UnsupportedKeyType: deny(
    'The key of the certificate request is {}',
    `use one of ${subjectKeyTypes.map(({ name }) => name).join(', ')}`,
    certificates,
  ),

  PodUnavailable: wait('The pod could not be looked up ({})', later),
  ReviewUnavailable: wait('The API server does not answer reviews of ServiceAccount tokens now ({})', later),
  ReviewForbidden: wait(
    'The API server does not let the signer review ServiceAccount tokens',
    'ask the cluster administrator to apply the RBAC of manifests/token-endpoint',
    { alarm: true },
  ),
  NotReady: wait('The endpoint is not ready yet ({})', later, { at: everything }),
  SigningUnavailable: wait('Nothing can be signed now: {}', later, { at: svids }),

  PodLimited: limit(
    'The pod sends too many requests',
    'reuse each JWT-SVID or certificate until half of its lifetime has passed',
  ),
  AddressLimited: limit('Too many requests come from this address', later, { at: everything }),
  ReviewLimited: limit(
    'The key of the ServiceAccount token is not published by the API server, and such tokens are reviewed at a ' +
      'limited rate',
    later,
  ),
  Overloaded: wait('The endpoint has too many requests under way', later, { at: everything }),
  InternalError: wait(
    'The endpoint failed because of a bug in kubespiffe',
    'report it, with the log of the signer',
    {
      status: 500,
      error: 'server_error',
      alarm: true,
      at: everything,
    },
  ),
} as const satisfies Record<string, Refusal>;

export type RefusalCode = keyof typeof refusals;
