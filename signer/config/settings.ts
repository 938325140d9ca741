import { isDevTrustDomain, parseIssuingTrustDomain } from '../../spiffe/trust-domain.ts';
import { type KeyBackendName, keyBackendNames } from '../keys/key-ref.ts';
import { type LogLevel, logLevels } from '../observe/log.ts';
import { addressRange, baseUrl, hostPort } from './address-values.ts';
import { endpointSettings } from './endpoint-settings.ts';
import { annotationKey, nameSegment, namespaceName, objectName, serviceDomain } from './name-values.ts';
import { inSection, type Setting } from './setting.ts';
import { boolean, choice, decimal, duration, filePath, list, text, type ValueType, whole } from './values.ts';

const trustDomainType: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a SPIFFE trust domain name: lower-case letters, digits, `.`, `-` and `_`, at most 255 characters',
  schema: { type: 'string', pattern: '^[a-z0-9._-]{1,255}$' },
  parse(value) {
    const read = parseIssuingTrustDomain(value);
    if (!read.ok) return { ok: false, reason: `is not a trust domain: ${read.reason}` };
    if (!isDevTrustDomain(value)) return read;
    const reason =
      'is for `kubespiffe dev` only: everyone who runs that has a CA for it; choose a name of your own';
    return { ok: false, reason };
  },
};

const identitySettings = inSection('Identity', {
  trustDomain: {
    type: trustDomainType,
    required: true,
    description:
      'Trust domain of every SPIFFE ID that is issued. It must be that of the root in the pool, and cannot be ' +
      'changed later without new identities for every pod.',
  },
  defaultIdentity: {
    type: choice<'serviceAccount' | 'none'>(['serviceAccount', 'none']),
    default: 'serviceAccount',
    description:
      'Identity of a pod that no WorkloadRegistration or ClusterWorkloadRegistration matches. `serviceAccount`: ' +
      '`spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. `none`: such a pod waits.',
  },
  registrationClass: {
    type: objectName,
    otherwise: 'registrations without a className',
    description: 'The registrations that this signer reads: those with this className.',
  },
  clusterName: {
    type: nameSegment,
    otherwise: 'templates cannot use it',
    description: 'The value of `{{ .ClusterName }}` in the templates of registrations.',
  },
  podAnnotations: {
    type: list(annotationKey),
    otherwise: 'templates cannot use annotations',
    description:
      'Annotations of pods that the templates of registrations may use. No others are kept in memory. Everyone who may ' +
      'create a pod decides what its annotations are.',
  },
  serviceDomains: {
    type: list(serviceDomain),
    default: 'svc.cluster.local',
    description:
      'Domains of Services in DNS. A certificate for the Service `web` of the namespace `shop` has the name ' +
      '`web.shop.svc` and one for each of these domains, such as `web.shop.svc.cluster.local`. Add ' +
      '`svc.clusterset.local` where clusters share Services.',
  },
});

const kubernetesSettings = inSection('Kubernetes', {
  kubeconfig: {
    type: filePath,
    otherwise: "the pod's own ServiceAccount in a cluster, else `$KUBECONFIG` or `~/.kube/config`",
    description: 'How to reach the API server.',
  },
  context: {
    type: text,
    otherwise: 'the current context',
    description: 'Context of the kubeconfig to use.',
  },
  namespace: {
    type: namespaceName,
    otherwise: '`$POD_NAMESPACE`, else the namespace of the pool',
    description: 'Namespace of the Leases of the replicas.',
  },
  replica: {
    type: objectName,
    otherwise: '`$POD_NAME`, else host name and process id',
    description:
      'Name of this replica. It must be unique among the running replicas. A name of more than 128 characters is ' +
      'shortened and ends in a hash, because the API server accepts no longer one.',
  },
  requestAdmission: {
    type: choice<'policy' | 'external'>(['policy', 'external']),
    default: 'policy',
    description:
      'What ensures that only nodes create PodCertificateRequests. `policy`: the ValidatingAdmissionPolicy of ' +
      'manifests/base; the signer answers no requests while it is missing or changed. `external`: something else, such ' +
      'as your own webhook. The signer cannot check it and answers all requests. Without such a guard, everyone who can ' +
      'create requests can get the identity of any pod.',
  },
});

const federationSettings = inSection('Federation', {
  federation: {
    type: boolean,
    default: 'false',
    description:
      'Whether the bundles of other trust domains are fetched and published, as the FederatedTrustDomains of the cluster ' +
      'say. The component manifests/federation sets it and grants the rights for it.',
  },
  federateByDefault: {
    type: choice<'all' | 'none'>(['all', 'none']),
    default: 'all',
    description:
      'Which federated trust domains workloads get from the token endpoint and the Workload API when no registration ' +
      'with `federatesWith` names them: all, or none.',
  },
  federationAllowedAddresses: {
    type: list(addressRange),
    otherwise: 'loopback, link-local and metadata addresses are refused',
    description:
      'Bundle endpoints may have these addresses even if they are loopback, link-local, multicast or those of the ' +
      'metadata service of a cloud.',
  },
});

const keysSettings = inSection('Keys', {
  keyBackends: {
    type: list(choice<KeyBackendName>(keyBackendNames)),
    otherwise: 'all keys are in the pool',
    description:
      'Where keys of authorities may be kept outside of the pool. A keyRef of any other backend is not followed, and its ' +
      'library is not loaded. The guide on [keys](../guides/keys.md) says what each of them needs.',
  },
  pkcs11Module: {
    type: filePath,
    otherwise: 'needed with keyBackends pkcs11',
    description:
      'PKCS#11 module (a shared library) of the maker of the token. It runs in a process of its own, which holds no other ' +
      'secrets.',
  },
  pkcs11PinFile: {
    type: filePath,
    otherwise: 'the module is used without a login',
    description:
      'File with the PIN of the user of the token. It is read whenever the token is opened. A PIN that was refused is not ' +
      'tried again, since tokens lock after a few wrong ones.',
  },
  keyConcurrency: {
    type: whole(1, 128),
    default: '32',
    description:
      'Maximum number of signatures of one key that are under way at the same time, for keys outside of the pool. With a ' +
      'latency of 20 ms, 32 allow 1,600 signatures in a second.',
  },
});

const processSettings = inSection('Process', {
  concurrency: {
    // One connection has all calls but those for tokens, and the API server takes 100 at once on a connection.
    type: whole(1, 80),
    default: '64',
    description:
      'Maximum number of requests that are answered at the same time. The API server accepts 100 calls at once on a ' +
      'connection; the rest is for Leases and the pool, which must not wait. The share of one namespace depends on the ' +
      'measured duration of a write, and is about three quarters at most.',
  },
  takeoverDelay: {
    type: duration('100ms', '1m'),
    default: '1s',
    description: 'How long a request stays open before the next replica answers it instead of its owner.',
  },
  metricsAddress: {
    type: hostPort,
    default: '127.0.0.1:9402',
    description: 'Address of `/metrics`, `/livez` and `/readyz`.',
  },
  logLevel: {
    type: choice<LogLevel>(logLevels),
    default: 'info',
    description: 'Minimum level that is logged. SIGUSR1 switches a running signer to `debug` and back.',
  },
  tracesEndpoint: {
    type: baseUrl,
    otherwise: 'no traces',
    description:
      'An OpenTelemetry collector that takes OTLP over HTTP, such as `http://collector.monitoring:4318`. ' +
      '[Traces](../operations/traces.md) are sent to the path `/v1/traces` below it.',
  },
  tracesRatio: {
    type: decimal(0, 1),
    default: '1',
    description:
      'Share of the traces that are recorded. A caller of the token endpoint that names a trace of its own decides for ' +
      'that one.',
  },
});

/** Every setting that all signers share, in the order of help and documentation. */
export const settings = {
  ...identitySettings,
  ...kubernetesSettings,
  ...endpointSettings,
  ...federationSettings,
  ...keysSettings,
  ...processSettings,
};

type ValueOf<S> = S extends { type: ValueType<infer T> } ? T : never;
type Absence<S> = S extends { default: string } | { required: true } ? never : undefined;

/** The value of every setting of a table; undefined only where nothing was given and there is no default. */
export type ValuesOf<T extends Record<string, Setting<unknown>>> = {
  readonly [K in keyof T]: ValueOf<T[K]> | Absence<T[K]>;
};

export type SettingValues = ValuesOf<typeof settings>;
