import { jwtSigningAlgorithms } from '../../spiffe/jwt-algorithms.ts';
import { hostPort, issuerUrl } from './address-values.ts';
import { dnsName } from './name-values.ts';
import { inSection } from './setting.ts';
import { boolean, choice, duration, filePath, list, text, whole } from './values.ts';

/** The settings of the HTTP endpoints, a part of the table in settings.ts. */
export const endpointSettings = inSection('Endpoints', {
  tokenAddress: {
    type: hostPort,
    otherwise: 'no token endpoint',
    needs: ['jwtIssuer'],
    description:
      'Address of the token endpoint, where pods exchange their ServiceAccount token for a JWT-SVID. It also publishes ' +
      'the keys that verify JWT-SVIDs. Needs `jwtIssuer` and the RBAC of manifests/token-endpoint.',
  },
  jwtIssuer: {
    type: issuerUrl,
    otherwise: 'none; required with `tokenAddress`',
    description:
      'Issuer of the JWT-SVIDs (`iss`) and of the discovery document, which external verifiers fetch from this ' +
      'URL. A later change must also be made at every verifier.',
  },
  jwtLifetime: {
    type: duration('30s', '1h'),
    default: '5m',
    description:
      'Maximum lifetime of a JWT-SVID from the time of issue. `iat` is backdated by 10 s. A JWT-SVID never outlives the ' +
      'ServiceAccount token that it was issued for.',
  },
  jwtAlgorithm: {
    type: choice(jwtSigningAlgorithms),
    default: 'ES256',
    description:
      'Signature algorithm of JWT-SVIDs; the pool needs such a key. OpenID Connect Discovery requires RS256, and ' +
      'Microsoft Entra accepts nothing else.',
  },
  jwtRs256Audiences: {
    type: list(text),
    otherwise: 'none',
    description: 'Audiences for which RS256 is used instead of `jwtAlgorithm`.',
  },
  jwtAudiences: {
    type: list(text),
    otherwise: 'all but those of the API server and of the endpoint itself',
    description: 'The only audiences for which JWT-SVIDs are issued. A final `*` matches any ending.',
  },
  jwtMaxAudiences: {
    type: whole(1, 10),
    default: '1',
    description:
      'Maximum number of audiences of a JWT-SVID. With two, each receiver can use the token at the other.',
  },
  jwtPropagationDelay: {
    type: duration('0s', '30d'),
    default: '0s',
    description:
      'How long a new JWT key must be published before it signs, if that is longer than three times ' +
      '`tokenRefreshHint`.',
  },
  tokenAudience: {
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`, the SPIFFE ID of the endpoint',
    description:
      'The only audience of ServiceAccount tokens that are accepted. It must not be one of the API server.',
  },
  serviceAccountIssuers: {
    type: list(text),
    otherwise: 'that of the API server alone',
    description:
      'Further issuers of ServiceAccount tokens of this cluster: the previous issuer while `--service-account-issuer` ' +
      'changes; or the current issuer, if the API server does not publish it or forbids the signer to read it. ' +
      'A new issuer needs no setting, because the signer reads it from the API server.',
  },
  tokenNames: {
    type: list(dnsName),
    otherwise: '`kubespiffe-tokens.NAMESPACE.svc`, and the same with `.cluster.local`',
    description: "DNS names of the endpoint's Service, for its certificate.",
  },
  tokenTls: {
    type: choice<'1.2' | '1.3'>(['1.3', '1.2']),
    default: '1.3',
    description: 'Minimum TLS version of the endpoint.',
  },
  tokenClientCertificates: {
    type: boolean,
    default: 'false',
    needs: ['signers.spiffe.leafPodIdentity'],
    description:
      'Whether the token endpoint requests client certificates, and accepts the certificate of a pod of this trust ' +
      'domain instead of a ServiceAccount token. Needs `leafPodIdentity`.',
  },
  tokenRefreshHint: {
    type: duration('1m', '24h'),
    default: '5m',
    description:
      'How often verifiers should fetch the published keys: `spiffe_refresh_hint` and the max-age of the documents. ' +
      'A new JWT key signs after three times this duration.',
  },
  tokenReviewCache: {
    type: duration('0s', '5m'),
    default: '30s',
    description:
      "How long the API server's answer about a ServiceAccount token, or about the pod of a certificate, is cached. The " +
      'token of a deleted pod is refused at the latest after this time plus 10 s, for which the API server caches its ' +
      'own reviews.',
  },
  tokenPodRate: {
    type: whole(1, 1_000_000),
    default: '10',
    description: 'Requests per second from one pod to one replica, on average; twice as many in a burst.',
  },
  tokenAddressRate: {
    type: whole(1, 1_000_000),
    default: '200',
    description:
      'Requests per second from one address to one listener of one replica, on average; twice as many in a burst. New ' +
      'connections have the same limit.',
  },
  x509Svid: {
    type: boolean,
    default: 'false',
    needs: ['tokenAddress'],
    description:
      'Whether the token endpoint also issues certificates: `POST /x509-svid`, for clusters without Pod Certificates and ' +
      'for processes that cannot have a projected volume. Needs `tokenAddress`.',
  },
  x509Audience: {
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/x509-svid`',
    description:
      'The only audience of ServiceAccount tokens that get a certificate. It must differ from `tokenAudience` and from ' +
      'the audiences of the API server.',
  },
  x509Lifetime: {
    type: duration('5m', '1h'),
    default: '1h',
    description:
      'Maximum lifetime of certificates from the token endpoint, including 2 minutes of backdating. A certificate never ' +
      'outlives the ServiceAccount token that it was issued for.',
  },
  bundleWebAddress: {
    type: hostPort,
    otherwise: 'no such endpoint',
    needs: ['bundleWebCertificate', 'bundleWebKey'],
    description:
      'Address of the bundle endpoint with profile https_web. Federated trust domains and relying parties of ' +
      'OpenID Connect read the documents there, and verify it by a Web PKI certificate. It issues no ' +
      'tokens. Needs `bundleWebCertificate` and `bundleWebKey`.',
  },
  bundleWebCertificate: {
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description:
      'Its certificate with intermediates, PEM, such as `tls.crt` of a mounted Secret. It is read again when it ' +
      'changes, without closing connections.',
  },
  bundleWebKey: {
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description: 'The key of that certificate, PEM, unencrypted, such as `tls.key`.',
  },
  bundleSpiffeAddress: {
    type: hostPort,
    otherwise: 'no such endpoint',
    description:
      'Address of the bundle endpoint with profile https_spiffe. It serves the same documents; federated trust domains ' +
      'verify it by the bundle that they have. Its SPIFFE ID is `spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`.',
  },
});
