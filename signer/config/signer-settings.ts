import type { Setting } from './setting.ts';
import { boolean, bundleSuffix, decimal, duration, namespacedName, objectName } from './values.ts';

/** Every setting that a signer may have in its section, in the order of help and documentation. */
export const signerSettings = {
  enabled: {
    section: 'Signers',
    type: boolean,
    default: 'true',
    description:
      'Whether the replica answers the requests of this signer. A replica is ready only when the pool of each enabled ' +
      'signer can sign, so enable a signer after its pool and its RBAC exist.',
  },
  pool: {
    section: 'Signers',
    type: namespacedName,
    default: 'kubespiffe/kubespiffe-pool',
    description: 'Secret that holds the CA keys. `kubespiffe ca create` creates it.',
  },
  bundleSuffix: {
    section: 'Signers',
    type: bundleSuffix,
    default: 'roots',
    description:
      'Last part of the name of the ClusterTrustBundle with the roots, `kubespiffe.io:SIGNER:SUFFIX`, and of its ' +
      'preview, `kubespiffe.io:SIGNER:SUFFIX-preview`. The RBAC rule contains both names, so change it too.',
  },
  rootsConfigMap: {
    section: 'Signers',
    type: objectName,
    otherwise: 'no ConfigMaps',
    description:
      'Name of a ConfigMap with the roots, kept in every namespace that has the label `kubespiffe.io/roots: "true"`, ' +
      'for pods that cannot project a ClusterTrustBundle. Where the API server does not serve ClusterTrustBundles, a ' +
      'root may sign once these ConfigMaps contain it. Needs the RBAC of manifests/roots-configmap, which contains the ' +
      'name too.',
  },
  maxLifetime: {
    section: 'Signers',
    type: duration('1h', '91d'),
    default: '24h',
    description:
      'Maximum lifetime of a certificate. A pod may ask for less with `maxExpirationSeconds`, never for more.',
  },
  rootPropagationDelay: {
    section: 'Signers',
    type: duration('0s', '30d'),
    default: '6m30s',
    description:
      'How long the root of a new CA must be published before the CA signs, so that every pod has it. With ' +
      '`bundleWebAddress` or `bundleSpiffeAddress` it is at least three times `tokenRefreshHint`. The first CA of a pool ' +
      'signs at once.',
  },
  refreshFraction: {
    section: 'Signers',
    type: decimal(0.1, 0.9),
    default: '0.5',
    description:
      'Share of its lifetime after which kubelet should replace a certificate. Up to a tenth of it is subtracted at ' +
      'random, so that pods which started together do not renew together.',
  },
  leafPodIdentity: {
    section: 'Signers',
    type: boolean,
    default: 'false',
    description:
      'Whether certificates name their pod, ServiceAccount and node with their UIDs, in the PodIdentity extension of ' +
      'KEP-4317 (not critical). Every peer can read them.',
  },
  leafIssuer: {
    section: 'Signers',
    type: boolean,
    default: 'false',
    description:
      'Whether certificates name `jwtIssuer` as a URI in issuerAltName (not critical), so that a peer in another ' +
      'cluster can find the keys and the bundle of this one. Needs `jwtIssuer`.',
  },
} as const satisfies Record<string, Setting<unknown>>;

export type SignerSettingKey = keyof typeof signerSettings;

/** What a signer declares about its section of the configuration. */
export interface SignerSection {
  readonly settings: readonly SignerSettingKey[];
  /** The signer whose values all other settings have. Without one they keep their defaults. */
  readonly others?: string;
  /** What differs from the settings above: another default, as a person would write it, or other bounds. */
  readonly different?: Readonly<Partial<Record<SignerSettingKey, Partial<Setting<unknown>>>>>;
}

/** The signers, by the last part of their signer name. */
export const signerSections = {
  spiffe: {
    settings: (Object.keys(signerSettings) as SignerSettingKey[]).filter((key) => key !== 'enabled'),
  },
  // One trust domain: the same pool, and the same lifetimes, which say when an authority may leave the pool.
  'pod-identity': { settings: ['enabled', 'bundleSuffix'], others: 'spiffe' },
  'service-dns': {
    settings: ['enabled', 'pool', 'bundleSuffix', 'maxLifetime', 'rootPropagationDelay', 'refreshFraction'],
    different: {
      enabled: { default: 'false' },
      pool: { default: 'kubespiffe/kubespiffe-service-dns-pool' },
      // Services change more often than identities, and clients that know DNS names alone ask nobody about revocation.
      maxLifetime: { type: duration('1h', '24h') },
    },
  },
} as const satisfies Record<string, SignerSection>;

export type SignerName = keyof typeof signerSections;
