import { shortName } from '../kube/short-name.ts';
import { endpointSettings } from './endpoint-settings.ts';
import { resolveEndpoints } from './endpoints.ts';
import { type RotationConfig, resolveRotation } from './rotation.ts';
import type { SettingValues, ValuesOf } from './settings.ts';
import { rotationSettings, type SignerName, type signerSettings } from './signer-settings.ts';

type SignerValues = ValuesOf<typeof signerSettings>;

/** The signer's configuration, complete and valid. docs/reference/configuration.md says what each setting is for. */
export type Config = ReturnType<typeof resolve>;

/** What one signer is configured with. */
export type SignerConfig = ReturnType<typeof signerConfig>;

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
) {
  const { takeoverDelay, ...values } = without(shared, endpointSettings);
  const namespace = shared.namespace ?? (env.POD_NAMESPACE || signers.spiffe.pool.namespace);
  const sections = Object.entries(signers).map(([name, section]) => [name, signerConfig(section, shared)]);
  return {
    ...values,
    /** Keys of the annotations of pods that are kept. */
    podAnnotations: shared.podAnnotations ?? [],
    // A name that is in a certificate twice is of no use.
    serviceDomains: [...new Set(shared.serviceDomains)],
    /** Special addresses that bundle endpoints may have. */
    federationAllowedAddresses: shared.federationAllowedAddresses ?? [],
    /** Where keys may be besides the pool. */
    keyBackends: shared.keyBackends ?? [],
    /** Where the Leases are. */
    namespace,
    /** Name of this replica, at most 128 characters: its field manager, holder of its Lease, reporter of its Events. */
    replica: shortName(shared.replica ?? (env.POD_NAME || replicaName(host)), longestReplicaName),
    takeoverDelayMs: takeoverDelay,
    signers: Object.fromEntries(sections) as Readonly<Record<SignerName, SignerConfig>>,
    /** Undefined: nothing listens to others. */
    endpoints: resolveEndpoints(shared, namespace),
  };
}

function signerConfig(all: SignerValues, shared: SettingValues) {
  const { maxLifetime, rootPropagationDelay, ...values } = without(all, rotationSettings);
  return {
    ...values,
    maxLifetimeSeconds: Math.floor(maxLifetime / 1000),
    /** How long a root must be published before anything is signed under it. */
    rootPropagationSeconds: rootPropagationSeconds(rootPropagationDelay, shared),
    /** The issuer that leaves name; undefined for none. */
    leafIssuer: values.leafIssuer ? shared.jwtIssuer : undefined,
    /** Undefined: nothing says when its authorities are replaced. */
    rotation: resolveRotation(all) as RotationConfig | undefined,
  };
}

/** Values without those of some settings. */
function without<V extends object, S extends object>(values: V, settings: S) {
  const others = Object.entries(values).filter(([key]) => !Object.hasOwn(settings, key));
  return Object.fromEntries(others) as Omit<V, keyof S>;
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
