import { jwtSigningAlgorithms } from '../../spiffe/jwt-algorithms.ts';
import type { Setting } from './setting.ts';
import {
  boolean,
  choice,
  dnsName,
  duration,
  filePath,
  hostPort,
  issuerUrl,
  list,
  text,
  whole,
} from './values.ts';

/** The settings of what listens to others, a part of the table in settings.ts. */
export const endpointSettings = {
  tokenAddress: {
    section: 'Endpoints',
    type: hostPort,
    otherwise: 'no token endpoint',
    description:
      'Where the token endpoint listens: pods exchange their ServiceAccount token for a JWT-SVID there, and ' +
      'everybody reads what verifies it. Needs `jwtIssuer` and the RBAC of manifests/token-endpoint.',
  },
  jwtIssuer: {
    section: 'Endpoints',
    type: issuerUrl,
    otherwise: 'none; required with `tokenAddress`',
    description:
      'Issuer of the JWT-SVIDs (`iss`) and of the discovery document, which verifiers outside look for at this ' +
      'URL. It cannot be changed later without every verifier that knows it.',
  },
  jwtLifetime: {
    section: 'Endpoints',
    type: duration('30s', '1h'),
    default: '5m',
    description:
      'Longest life of a JWT-SVID from when it is issued; from `iat`, which lies 10 s before that, to `exp` it is 10 s ' +
      'more. It never outlives the ServiceAccount token it is made from.',
  },
  jwtAlgorithm: {
    section: 'Endpoints',
    type: choice(jwtSigningAlgorithms),
    default: 'ES256',
    description:
      'What JWT-SVIDs are signed with; the pool needs such a key. RS256 is what OpenID Connect Discovery demands ' +
      'and the only one that Microsoft Entra takes.',
  },
  jwtRs256Audiences: {
    section: 'Endpoints',
    type: list(text),
    otherwise: 'none',
    description: 'Audiences for which RS256 is used whatever `jwtAlgorithm` says.',
  },
  jwtAudiences: {
    section: 'Endpoints',
    type: list(text),
    otherwise: 'all but those of the API server and of the endpoint itself',
    description: 'The only audiences that JWT-SVIDs are issued for. A final `*` stands for any ending.',
  },
  jwtMaxAudiences: {
    section: 'Endpoints',
    type: whole(1, 10),
    default: '1',
    description: 'How many audiences a JWT-SVID may have. With two, each can use the token at the other.',
  },
  jwtPropagationDelay: {
    section: 'Endpoints',
    type: duration('0s', '30d'),
    default: '0s',
    description:
      'How long a new JWT key has to be published before it signs, where that is longer than three times ' +
      '`tokenRefreshHint`.',
  },
  tokenAudience: {
    section: 'Endpoints',
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`, the SPIFFE ID of the endpoint',
    description:
      'The audience that ServiceAccount tokens must have, and no other, to be taken. Never one of the API server.',
  },
  serviceAccountIssuers: {
    section: 'Endpoints',
    type: list(text),
    otherwise: 'that of the API server alone',
    description:
      'Further issuers of ServiceAccount tokens of this cluster: while `--service-account-issuer` changes, the one that ' +
      'it had before; where the API server publishes no issuer, or forbids the signer to read it, the issuer itself. ' +
      'A new one needs no setting, as the signer asks the API server for it.',
  },
  tokenNames: {
    section: 'Endpoints',
    type: list(dnsName),
    otherwise: '`kubespiffe-tokens.NAMESPACE.svc`, and the same with `.cluster.local`',
    description: "DNS names of the endpoint's Service, which its certificate carries.",
  },
  tokenTls: {
    section: 'Endpoints',
    type: choice<'1.2' | '1.3'>(['1.3', '1.2']),
    default: '1.3',
    description: 'Least TLS version of the endpoint.',
  },
  tokenClientCertificates: {
    section: 'Endpoints',
    type: boolean,
    default: 'false',
    description:
      'Whether the token endpoint asks its clients for a certificate, and gives the pod of a certificate of this trust ' +
      'domain a JWT-SVID without a ServiceAccount token. Needs `leafPodIdentity`.',
  },
  tokenRefreshHint: {
    section: 'Endpoints',
    type: duration('1m', '24h'),
    default: '5m',
    description:
      'How often others should read the published keys anew: `spiffe_refresh_hint` and the max-age of the documents. ' +
      'A new JWT key signs after three times as long.',
  },
  tokenReviewCache: {
    section: 'Endpoints',
    type: duration('0s', '5m'),
    default: '30s',
    description:
      "How long the API server's word on a ServiceAccount token, or on the pod of a certificate, counts. The token of " +
      'a deleted pod is refused at the latest after this time and the 10 s for which the API server remembers its own ' +
      'reviews.',
  },
  tokenPodRate: {
    section: 'Endpoints',
    type: whole(1, 1_000_000),
    default: '10',
    description: 'Requests a second from one pod to one replica, on average; twice as many at once.',
  },
  tokenAddressRate: {
    section: 'Endpoints',
    type: whole(1, 1_000_000),
    default: '200',
    description:
      'Requests a second from one address to one listener of one replica, on average; twice as many at once. New ' +
      'connections are limited alike.',
  },
  x509Svid: {
    section: 'Endpoints',
    type: boolean,
    default: 'false',
    description:
      'Whether the token endpoint gives certificates too: `POST /x509-svid`, for clusters without Pod Certificates and ' +
      'for processes that cannot have a projected volume. Needs `tokenAddress`.',
  },
  x509Audience: {
    section: 'Endpoints',
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/x509-svid`',
    description:
      'The audience that ServiceAccount tokens must have, and no other, to get a certificate. Neither `tokenAudience` ' +
      'nor one of the API server.',
  },
  x509Lifetime: {
    section: 'Endpoints',
    type: duration('5m', '1h'),
    default: '1h',
    description:
      'Longest life of a certificate that the token endpoint gives, of which 2 minutes lie back. It never outlives the ' +
      'ServiceAccount token it is made from.',
  },
  bundleWebAddress: {
    section: 'Endpoints',
    type: hostPort,
    otherwise: 'no such endpoint',
    description:
      'Where the bundle endpoint of profile https_web listens: those who federate with us, and relying parties of ' +
      'OpenID Connect, read the documents there, and verify it by a certificate that the web knows. It gives no ' +
      'tokens. Needs `bundleWebCertificate` and `bundleWebKey`.',
  },
  bundleWebCertificate: {
    section: 'Endpoints',
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description:
      'Its certificate with the intermediates, PEM, such as `tls.crt` of a mounted Secret. It is read anew when it ' +
      'changes, without ending a connection.',
  },
  bundleWebKey: {
    section: 'Endpoints',
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description: 'The key of that certificate, PEM, unencrypted, such as `tls.key`.',
  },
  bundleSpiffeAddress: {
    section: 'Endpoints',
    type: hostPort,
    otherwise: 'no such endpoint',
    description:
      'Where the bundle endpoint of profile https_spiffe listens: the same documents, and those who federate with us ' +
      'verify it by the bundle that they have. Its SPIFFE ID is `spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`.',
  },
} as const satisfies Record<string, Setting<unknown>>;
