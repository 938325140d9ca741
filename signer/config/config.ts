import type { AddressRange } from '../../client/address-range.ts';
import type { KeyBackendName } from '../keys/key-ref.ts';
import { shortName } from '../kube/short-name.ts';
import type { endpointSettings } from './endpoint-settings.ts';
import { type EndpointConfig, resolveEndpoints } from './endpoints.ts';
import { type RotationConfig, resolveRotation } from './rotation.ts';
import type { SettingValues, ValuesOf } from './settings.ts';
import type { rotationSettings, SignerName, signerSettings } from './signer-settings.ts';

type SignerValues = ValuesOf<typeof signerSettings>;

/** What one signer is configured with. docs/reference/configuration.md says what each setting is for. */
export interface SignerConfig
  extends Omit<
    SignerValues,
    'maxLifetime' | 'rootPropagationDelay' | 'leafIssuer' | keyof typeof rotationSettings
  > {
  readonly maxLifetimeSeconds: number;
  /** How long a root must be published before anything is signed under it. */
  readonly rootPropagationSeconds: number;
  /** The issuer that leaves name; undefined for none. */
  readonly leafIssuer: string | undefined;
  /** Undefined: nothing says when its authorities are replaced. */
  readonly rotation: RotationConfig | undefined;
}

/** The signer's configuration, complete and valid. */
export interface Config
  extends Omit<
    SettingValues,
    | keyof typeof endpointSettings
    | 'takeoverDelay'
    | 'podAnnotations'
    | 'federationAllowedAddresses'
    | 'keyBackends'
  > {
  /** Where keys may be besides the pool. */
  readonly keyBackends: readonly KeyBackendName[];
  /** Keys of the annotations of pods that are kept. */
  readonly podAnnotations: readonly string[];
  /** Special addresses that bundle endpoints may have. */
  readonly federationAllowedAddresses: readonly AddressRange[];
  /** Where the Leases are. */
  readonly namespace: string;
  /** Name of this replica, at most 128 characters: its field manager, holder of its Lease, reporter of its Events. */
  readonly replica: string;
  readonly takeoverDelayMs: number;
  readonly signers: Readonly<Record<SignerName, SignerConfig>>;
  /** Undefined: nothing listens to others. */
  readonly endpoints: EndpointConfig | undefined;
}

/** The value of every setting: what all signers share, and a section for each signer. */
export interface Values {
  readonly shared: SettingValues;
  readonly signers: Readonly<Record<SignerName, SignerValues>>;
}

/** Makes the configuration of values that are valid. */
export function resolve(
  { shared, signers }: Values,
  env: Readonly<Record<string, string | undefined>>,
  host: { name: string; pid: number },
): Config {
  const { defaultIdentity, registrationClass, clusterName, podAnnotations = [] } = shared;
  const { trustDomain, requestAdmission, kubeconfig, context } = shared;
  const { concurrency, metricsAddress, logLevel, tracesEndpoint, tracesRatio, takeoverDelay } = shared;
  const { federation, federateByDefault, federationAllowedAddresses = [] } = shared;
  const { keyBackends = [], pkcs11Module, pkcs11PinFile, keyConcurrency } = shared;
  const namespace = shared.namespace ?? (env.POD_NAMESPACE || signers.spiffe.pool.namespace);
  const sections = Object.entries(signers).map(([name, values]) => [name, signerConfig(values, shared)]);
  return {
    ...{ defaultIdentity, registrationClass, clusterName, podAnnotations },
    ...{ trustDomain, requestAdmission, kubeconfig, context, namespace },
    // A name that is in a certificate twice is of no use.
    serviceDomains: [...new Set(shared.serviceDomains)],
    ...{ concurrency, metricsAddress, logLevel, tracesEndpoint, tracesRatio },
    ...{ federation, federateByDefault, federationAllowedAddresses },
    ...{ keyBackends, pkcs11Module, pkcs11PinFile, keyConcurrency },
    replica: shortName(shared.replica ?? (env.POD_NAME || replicaName(host)), longestReplicaName),
    takeoverDelayMs: takeoverDelay,
    signers: Object.fromEntries(sections),
    endpoints: resolveEndpoints(shared, namespace),
  };
}

function signerConfig(all: SignerValues, shared: SettingValues): SignerConfig {
  const { maxLifetime, rootPropagationDelay, ...others } = all;
  const { rotation, caLifetime, caPrepareAfter, caPreviewFor, caPreviewVerified, ...rest } = others;
  const { caActivateAfter, caRetireAfter, caIssuer, jwtKeyActivateAfter, ...values } = rest;
  return {
    ...values,
    maxLifetimeSeconds: Math.floor(maxLifetime / 1000),
    rootPropagationSeconds: rootPropagationSeconds(rootPropagationDelay, shared),
    leafIssuer: values.leafIssuer ? shared.jwtIssuer : undefined,
    rotation: resolveRotation(all),
  };
}

/**
 * Other trust domains poll the bundle endpoints, and look for new roots once in a refresh hint. Two attempts may fail. After it was
 * fetched, a root comes to the pods there as it comes to ours.
 */
function rootPropagationSeconds(delayMs: number, shared: SettingValues): number {
  const { bundleWebAddress, bundleSpiffeAddress, tokenRefreshHint } = shared;
  const delaySeconds = Math.ceil(delayMs / 1000);
  const isPolled = bundleWebAddress !== undefined || bundleSpiffeAddress !== undefined;
  const hintSeconds = Math.floor(tokenRefreshHint / 1000);
  return isPolled ? Math.max(delaySeconds + hintSeconds, 3 * hintSeconds) : delaySeconds;
}

/** Most characters that the API server takes of a field manager, and of the reporter of an Event. */
const longestReplicaName = 128;

/** A host name may have capitals and underscores and be long; the name of a Lease may not. */
function replicaName(host: { name: string; pid: number }): string {
  const name = host.name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 50)
    .replace(/^-+|-+$/g, '');
  return `${name || 'host'}-${host.pid}`;
}
