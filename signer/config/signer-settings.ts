import { bundleSuffix, certManagerIssuer, namespacedName, objectName } from './name-values.ts';
import { inSection, type Setting } from './setting.ts';
import { boolean, choice, decimal, duration } from './values.ts';

/** The settings that say when authorities are replaced. */
export const rotationSettings = inSection('Authorities', {
  rotation: {
    type: choice<'advise' | 'automatic'>(['advise', 'automatic']),
    default: 'advise',
    description:
      'What happens when a step of a rotation is due. `automatic`: one replica takes it. It may not write the pool without ' +
      'the Role of manifests/rotation. `advise`: an Event on the pod of the signer and a metric show the step.',
  },
  caIssuer: {
    type: certManagerIssuer,
    otherwise: 'CAs are self-signed roots',
    description:
      'Issuer of cert-manager that signs the CAs, such as `ClusterIssuer/company`. With `rotation` `automatic`, one replica ' +
      'requests the next CA at least a week ahead, with a CertificateRequest in the namespace of the pool. The pool must ' +
      'have the root of the issuer already. The guide to a company PKI names the right that this needs.',
  },
  caLifetime: {
    type: duration('1d', '3650d'),
    default: '365d',
    description:
      'Lifetime of the CAs that are made. It must be enough for the time in reserve, `caActivateAfter`, `maxLifetime`, and a ' +
      'margin of a day.',
  },
  caPrepareAfter: {
    type: duration('0s', '3650d'),
    default: '0s',
    description:
      'How long a CA signs before the next one is made and published. With `0s` one is always in reserve, for an emergency.',
  },
  caPreviewFor: {
    type: duration('0s', '90d'),
    default: '0s',
    description:
      'How long the root of a new CA is only in the preview bundle, before it is in the live one. With `0s`, or while no CA ' +
      'can sign, it is in the live one at once, unless `caPreviewVerified` is set.',
  },
  caPreviewVerified: {
    type: boolean,
    default: 'false',
    description:
      'Whether the root of a new CA stays in the preview bundle until `kubespiffe ca verify-preview` has shown that a pod ' +
      'verifies a certificate by that bundle.',
  },
  caActivateAfter: {
    type: duration('1s', '3650d'),
    default: '120d',
    description:
      'How long a CA signs before the next one does. A CA that ends early is replaced while it has `maxLifetime` and a ' +
      'margin of a day left.',
  },
  caRetireAfter: {
    type: duration('0s', '365d'),
    default: '1h',
    description: 'How long an old CA or JWT key stays published after everything that it signed has expired.',
  },
  jwtKeyActivateAfter: {
    type: duration('1s', '3650d'),
    default: '30d',
    description: 'How long a JWT key signs before the next one does. One is always in reserve.',
  },
});

const ofSigners = inSection('Signers', {
  enabled: {
    type: boolean,
    default: 'true',
    description:
      'Whether the replica answers the requests of this signer. A replica is ready only when the pool of each enabled ' +
      'signer can sign, so enable a signer after its pool and its RBAC exist.',
  },
  pool: {
    type: namespacedName,
    default: 'kubespiffe/kubespiffe-pool',
    description: 'Secret that holds the CA keys. `kubespiffe ca create` creates it.',
  },
  bundleSuffix: {
    type: bundleSuffix,
    default: 'roots',
    description:
      'Last part of the name of the ClusterTrustBundle with the roots, `kubespiffe.io:SIGNER:SUFFIX`, and of its ' +
      'preview, `kubespiffe.io:SIGNER:SUFFIX-preview`. The RBAC rule contains both names, so change it too.',
  },
  rootsConfigMap: {
    type: objectName,
    otherwise: 'no ConfigMaps',
    description:
      'Name of a ConfigMap with the roots, kept in every namespace that has the label `kubespiffe.io/roots: "true"`, ' +
      'for pods that cannot project a ClusterTrustBundle. Where the API server does not serve ClusterTrustBundles, a ' +
      'root may sign once these ConfigMaps contain it. Needs the RBAC of manifests/roots-configmap, which contains the ' +
      'name too.',
  },
  maxLifetime: {
    type: duration('1h', '91d'),
    default: '24h',
    description:
      'Maximum lifetime of a certificate. A pod may ask for less with `maxExpirationSeconds`, never for more.',
  },
  rootPropagationDelay: {
    type: duration('0s', '30d'),
    default: '6m30s',
    description:
      'How long the root of a new CA must be published before the CA signs, so that every pod has it. With ' +
      '`bundleWebAddress` or `bundleSpiffeAddress`, `tokenRefreshHint` is added, within which other trust domains ' +
      'fetch it, and the sum is at least three times `tokenRefreshHint`. The first CA of a pool signs at once.',
  },
  refreshFraction: {
    type: decimal(0.1, 0.9),
    default: '0.5',
    description:
      'Share of its lifetime after which kubelet should replace a certificate. Up to a tenth of it is subtracted at ' +
      'random, so that pods which started together do not renew together.',
  },
  leafPodIdentity: {
    type: boolean,
    default: 'false',
    description:
      'Whether certificates name their pod, ServiceAccount and node with their UIDs, in the PodIdentity extension of ' +
      'KEP-4317 (not critical). Every peer can read them.',
  },
  leafIssuer: {
    type: boolean,
    default: 'false',
    needs: ['jwtIssuer'],
    description:
      'Whether certificates name `jwtIssuer` as a URI in issuerAltName (not critical), so that a peer in another ' +
      'cluster can find the keys and the bundle of this one. Needs `jwtIssuer`.',
  },
});

/** Every setting that a signer may have in its section, in the order of help and documentation. */
export const signerSettings = { ...ofSigners, ...rotationSettings };

type RotationSettingKey = keyof typeof rotationSettings;
export type SignerSettingKey = keyof typeof signerSettings;

/** What a signer declares about its section of the configuration. */
export interface SignerSection {
  readonly settings: readonly SignerSettingKey[];
  /** The signer whose values all other settings have. Without one they keep their defaults. */
  readonly others?: string;
  /** What differs from the settings above: another default, as a person would write it, or other bounds. */
  readonly different?: Readonly<Partial<Record<SignerSettingKey, Partial<Setting<unknown>>>>>;
}

/** What a pool of no trust domain does not have: JWT keys, and the test of its preview bundle. */
const ofTrustDomains: ReadonlySet<RotationSettingKey> = new Set(['jwtKeyActivateAfter', 'caPreviewVerified']);

/** The signers, by the last part of their signer name. */
export const signerSections = {
  spiffe: {
    settings: (Object.keys(signerSettings) as SignerSettingKey[]).filter((key) => key !== 'enabled'),
  },
  // One trust domain: the same pool, and the same lifetimes, which say when an authority may leave the pool.
  'pod-identity': { settings: ['enabled', 'bundleSuffix'], others: 'spiffe' },
  'service-dns': {
    settings: [
      ...([
        'enabled',
        'pool',
        'bundleSuffix',
        'maxLifetime',
        'rootPropagationDelay',
        'refreshFraction',
      ] as const),
      ...(Object.keys(rotationSettings) as RotationSettingKey[]).filter((key) => !ofTrustDomains.has(key)),
    ],
    different: {
      enabled: { default: 'false' },
      pool: { default: 'kubespiffe/kubespiffe-service-dns-pool' },
      // Services change more often than identities, and clients that know DNS names alone do not check revocation.
      maxLifetime: { type: duration('1h', '24h') },
    },
  },
} as const satisfies Record<string, SignerSection>;

export type SignerName = keyof typeof signerSections;
