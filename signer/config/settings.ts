import { type LogLevel, logLevels } from '../observe/log.ts';
import { parseIssuingTrustDomain } from '../spiffe/trust-domain.ts';
import {
  boolean,
  choice,
  decimal,
  dnsName,
  duration,
  filePath,
  hostPort,
  issuerUrl,
  list,
  namespacedName,
  namespaceName,
  objectName,
  text,
  type ValueType,
  whole,
} from './values.ts';

/** One setting of the signer. Its names as flag, variable and file key follow from its key in the table. */
export interface Setting<T> {
  readonly section: 'Identity' | 'Kubernetes' | 'Certificates' | 'Tokens' | 'Process';
  readonly type: ValueType<T>;
  /** As a person would write it. Without one, and unless required, the setting may stay open. */
  readonly default?: string;
  readonly required?: true;
  /** Sentences for the person who sets it. */
  readonly description: string;
  /** What stands in for a default that depends on where the signer runs. */
  readonly otherwise?: string;
}

const trustDomainType: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a SPIFFE trust domain name: lower-case letters, digits, `.`, `-` and `_`, at most 255 characters',
  parse(value) {
    const read = parseIssuingTrustDomain(value);
    return read.ok ? read : { ok: false, reason: `is no trust domain: ${read.reason}` };
  },
};

/** Every setting of the signer, in the order of help and documentation. The only list of them. */
export const settings = {
  trustDomain: {
    section: 'Identity',
    type: trustDomainType,
    required: true,
    description:
      'Trust domain of every SPIFFE ID that is issued. It must be that of the root in the pool, and cannot be ' +
      'changed later without new identities for every pod.',
  },
  pool: {
    section: 'Identity',
    type: namespacedName,
    default: 'kubespiffe/kubespiffe-pool',
    description: 'Secret that holds the CA keys; `kubespiffe ca create` makes it.',
  },
  bundleSuffix: {
    section: 'Identity',
    type: objectName,
    default: 'roots',
    description:
      'Last part of the name of the ClusterTrustBundle with the roots: `kubespiffe.io:spiffe:SUFFIX`. The RBAC ' +
      'rule names the whole, so change both.',
  },
  rootsConfigMap: {
    section: 'Identity',
    type: objectName,
    otherwise: 'no ConfigMaps',
    description:
      'Name of a ConfigMap with the roots, kept in every namespace that has the label `kubespiffe.io/roots: "true"`: ' +
      'for pods that cannot project a ClusterTrustBundle. Where the API server serves none, these decide when a root may ' +
      'sign. Needs the RBAC of manifests/roots-configmap, which names it too.',
  },
  kubeconfig: {
    section: 'Kubernetes',
    type: filePath,
    otherwise: "the pod's own ServiceAccount in a cluster, else `$KUBECONFIG` or `~/.kube/config`",
    description: 'How to reach the API server.',
  },
  context: {
    section: 'Kubernetes',
    type: text,
    otherwise: 'the current context',
    description: 'Context of the kubeconfig to use.',
  },
  namespace: {
    section: 'Kubernetes',
    type: namespaceName,
    otherwise: '`$POD_NAMESPACE`, else the namespace of the pool',
    description: 'Where the replicas keep their Leases.',
  },
  replica: {
    section: 'Kubernetes',
    type: objectName,
    otherwise: '`$POD_NAME`, else host name and process id',
    description: 'Name of this replica among the others. No two running replicas may share one.',
  },
  maxLifetime: {
    section: 'Certificates',
    type: duration('1h', '91d'),
    default: '24h',
    description:
      'Longest life of a certificate. A pod may ask for less with `maxExpirationSeconds`, never for more.',
  },
  refreshFraction: {
    section: 'Certificates',
    type: decimal(0.1, 0.9),
    default: '0.5',
    description:
      'Share of its life after which kubelet should replace a certificate. Up to a tenth of it is taken off at ' +
      'random, so that pods which started together do not come back together.',
  },
  leafPodIdentity: {
    section: 'Certificates',
    type: boolean,
    default: 'false',
    description:
      'Whether certificates name their pod, ServiceAccount and node with their UIDs, in the PodIdentity extension of ' +
      'KEP-4317 (not critical). Every peer reads them.',
  },
  leafIssuer: {
    section: 'Certificates',
    type: boolean,
    default: 'false',
    description:
      'Whether certificates name `jwtIssuer` as a URI in issuerAltName (not critical), so that who meets one of ' +
      'another cluster knows where to find its keys and bundle. Needs `jwtIssuer`.',
  },
  tokenAddress: {
    section: 'Tokens',
    type: hostPort,
    otherwise: 'no token endpoint',
    description:
      'Where the token endpoint listens: pods exchange their ServiceAccount token for a JWT-SVID there, and ' +
      'everybody reads what verifies it. Needs `jwtIssuer` and the RBAC of manifests/token-endpoint.',
  },
  jwtIssuer: {
    section: 'Tokens',
    type: issuerUrl,
    otherwise: 'none; required with `tokenAddress`',
    description:
      'Issuer of the JWT-SVIDs (`iss`) and of the discovery document, which verifiers outside look for at this ' +
      'URL. It cannot be changed later without every verifier that knows it.',
  },
  jwtLifetime: {
    section: 'Tokens',
    type: duration('30s', '1h'),
    default: '5m',
    description: 'Longest life of a JWT-SVID. It never outlives the ServiceAccount token it is made from.',
  },
  jwtAlgorithm: {
    section: 'Tokens',
    type: choice<'ES256' | 'RS256'>(['ES256', 'RS256']),
    default: 'ES256',
    description:
      'What JWT-SVIDs are signed with; the pool needs such a key. RS256 is what OpenID Connect Discovery demands ' +
      'and the only one that Microsoft Entra takes.',
  },
  jwtRs256Audiences: {
    section: 'Tokens',
    type: list(text),
    otherwise: 'none',
    description: 'Audiences for which RS256 is used whatever `jwtAlgorithm` says.',
  },
  jwtAudiences: {
    section: 'Tokens',
    type: list(text),
    otherwise: 'all but those of the API server and of the endpoint itself',
    description: 'The only audiences that JWT-SVIDs are issued for. A final `*` stands for any ending.',
  },
  jwtMaxAudiences: {
    section: 'Tokens',
    type: whole(1, 10),
    default: '1',
    description: 'How many audiences a JWT-SVID may have. With two, each can use the token at the other.',
  },
  jwtPropagationDelay: {
    section: 'Tokens',
    type: duration('0s', '30d'),
    default: '0s',
    description:
      'How long a new JWT key has to be published before it signs, where that is longer than three times ' +
      '`tokenRefreshHint`.',
  },
  tokenAudience: {
    section: 'Tokens',
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`, the SPIFFE ID of the endpoint',
    description:
      'The audience that ServiceAccount tokens must have, and no other, to be taken. Never one of the API server.',
  },
  serviceAccountIssuers: {
    section: 'Tokens',
    type: list(text),
    otherwise: 'that of the API server alone',
    description:
      'Further issuers of ServiceAccount tokens of this cluster, for the time of a change of `--service-account-issuer`.',
  },
  tokenNames: {
    section: 'Tokens',
    type: list(dnsName),
    otherwise: '`kubespiffe-tokens.NAMESPACE.svc`, and the same with `.cluster.local`',
    description: "DNS names of the endpoint's Service, which its certificate carries.",
  },
  tokenTls: {
    section: 'Tokens',
    type: choice<'1.2' | '1.3'>(['1.3', '1.2']),
    default: '1.3',
    description: 'Least TLS version of the endpoint.',
  },
  tokenClientCertificates: {
    section: 'Tokens',
    type: boolean,
    default: 'false',
    description:
      'Whether the token endpoint asks its clients for a certificate, and gives the pod of a certificate of this trust ' +
      'domain a JWT-SVID without a ServiceAccount token. Needs `leafPodIdentity`.',
  },
  tokenRefreshHint: {
    section: 'Tokens',
    type: duration('1m', '24h'),
    default: '5m',
    description:
      'How often others should read the published keys anew: `spiffe_refresh_hint` and the max-age of the documents. ' +
      'A new JWT key signs after three times as long.',
  },
  bundleWebAddress: {
    section: 'Tokens',
    type: hostPort,
    otherwise: 'no such endpoint',
    description:
      'Where the bundle endpoint of profile https_web listens: those who federate with us, and relying parties of ' +
      'OpenID Connect, read the documents there, and verify it by a certificate that the web knows. It gives no ' +
      'tokens. Needs `bundleWebCertificate` and `bundleWebKey`.',
  },
  bundleWebCertificate: {
    section: 'Tokens',
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description:
      'Its certificate with the intermediates, PEM, such as `tls.crt` of a mounted Secret. It is read anew when it ' +
      'changes, without ending a connection.',
  },
  bundleWebKey: {
    section: 'Tokens',
    type: filePath,
    otherwise: 'none; required with `bundleWebAddress`',
    description: 'The key of that certificate, PEM, unencrypted, such as `tls.key`.',
  },
  bundleSpiffeAddress: {
    section: 'Tokens',
    type: hostPort,
    otherwise: 'no such endpoint',
    description:
      'Where the bundle endpoint of profile https_spiffe listens: the same documents, and those who federate with us ' +
      'verify it by the bundle that they have. Its SPIFFE ID is `spiffe://TRUST-DOMAIN/kubespiffe/token-endpoint`.',
  },
  tokenReviewCache: {
    section: 'Tokens',
    type: duration('0s', '5m'),
    default: '30s',
    description:
      "How long the API server's word on a ServiceAccount token, or on the pod of a certificate, counts. The token of " +
      'a deleted pod is refused at the latest after this time and the 10 s for which the API server remembers its own ' +
      'reviews.',
  },
  tokenPodRate: {
    section: 'Tokens',
    type: whole(1, 1_000_000),
    default: '10',
    description: 'Requests a second from one pod, on average; twice as many at once.',
  },
  tokenAddressRate: {
    section: 'Tokens',
    type: whole(1, 1_000_000),
    default: '200',
    description: 'Requests a second from one address, on average; twice as many at once.',
  },
  x509Svid: {
    section: 'Tokens',
    type: boolean,
    default: 'false',
    description:
      'Whether the token endpoint gives certificates too: `POST /x509-svid`, for clusters without Pod Certificates and ' +
      'for processes that cannot have a projected volume. Needs `tokenAddress`.',
  },
  x509Audience: {
    section: 'Tokens',
    type: text,
    otherwise: '`spiffe://TRUST-DOMAIN/kubespiffe/x509-svid`',
    description:
      'The audience that ServiceAccount tokens must have, and no other, to get a certificate. Neither `tokenAudience` ' +
      'nor one of the API server.',
  },
  x509Lifetime: {
    section: 'Tokens',
    type: duration('5m', '1h'),
    default: '1h',
    description:
      'Longest life of a certificate that the token endpoint gives, of which 2 minutes lie back. It never outlives the ' +
      'ServiceAccount token it is made from.',
  },
  concurrency: {
    section: 'Process',
    type: whole(1, 256),
    default: '32',
    description: 'How many requests are answered at the same time.',
  },
  takeoverDelay: {
    section: 'Process',
    type: duration('100ms', '1m'),
    default: '1s',
    description:
      'How long a request may stay open before the next replica answers in place of the one it belongs to.',
  },
  metricsAddress: {
    section: 'Process',
    type: hostPort,
    default: '127.0.0.1:9402',
    description: 'Where `/metrics`, `/livez` and `/readyz` are served.',
  },
  logLevel: {
    section: 'Process',
    type: choice<LogLevel>(logLevels),
    default: 'info',
    description: 'Least level that is logged. SIGUSR1 switches a running signer to `debug` and back.',
  },
} as const satisfies Record<string, Setting<unknown>>;

export type SettingKey = keyof typeof settings;

type ValueOf<S> = S extends { type: ValueType<infer T> } ? T : never;
type Absence<S> = S extends { default: string } | { required: true } ? never : undefined;

/** The value of every setting; undefined only where nothing was said and there is no default. */
export type SettingValues = {
  readonly [K in SettingKey]: ValueOf<(typeof settings)[K]> | Absence<(typeof settings)[K]>;
};

export const settingKeys = Object.keys(settings) as SettingKey[];

/** `maxLifetime` as a flag: `--max-lifetime`. */
export const flagOf = (key: string): string =>
  `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** `maxLifetime` as an environment variable: `KUBESPIFFE_MAX_LIFETIME`. */
export const variableOf = (key: string): string =>
  `KUBESPIFFE_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
