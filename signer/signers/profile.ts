import type { CertificateProfile } from '../../spiffe/pki/leaf.ts';
import type { Config, SignerConfig } from '../config/config.ts';
import type { Facts } from '../identity/facts.ts';
import type { Identify } from '../identity/identify.ts';
import type { KnownAnnotations } from '../issuance/request.ts';
import type { Informer, InformerSpec } from '../kube/informer.ts';
import type { PodFacts } from '../kube/pods.ts';
import type { Shared } from './shared.ts';

/** The settings of one signer; docs/reference/configuration.md says what each is for. */
export interface SignerSettings extends SignerConfig {
  /** Undefined for a signer whose authorities belong to no trust domain. */
  readonly trustDomain: string | undefined;
}

/**
 * Follows a resource.
 *
 * @param podsOf keys (`namespace/name`) of the pods whose identity may depend on an object. When it changes, their
 * requests are looked at again at once.
 */
export type Follow = <Wire, T>(
  spec: InformerSpec<Wire, T>,
  podsOf: (object: T, key: string) => Iterable<string>,
) => Informer<T>;

/** Works until its signal is aborted, and rejects when it fails before. */
export interface Part {
  run(signal: AbortSignal): Promise<unknown>;
}

/** Makes a part from what all signers share, and from the facts that the signer follows. */
export type MakePart = (shared: Shared, facts: Facts) => Part;

export interface IdentifierNeeds {
  /** Follows what an identity depends on besides the pod, such as Services. Called once for each. */
  readonly follow: Follow;
  readonly config: Config;
  readonly pods: Pick<Informer<PodFacts>, 'store' | 'synced'>;
  /**
   * Lets a part run as long as the replica does, such as what writes the status of the followed objects. It is made in
   * replicas alone, once everything is followed. Tools decide by the same profile, and run nothing.
   */
  readonly run: (make: MakePart) => void;
}

/** What distinguishes one signer from another. Everything else is shared. */
export interface SignerProfile {
  /** `spec.signerName` of its requests and bundles, and the label `signer` of its metrics. */
  readonly signerName: string;
  /** The last part of the signer name: its section in the configuration, and its health checks, such as `spiffe/pool`. */
  readonly name: string;
  /** Whether pool, bundles and names are of the trust domain that is configured. Else they are of none. */
  readonly hasTrustDomain: boolean;
  /** The ClusterRole and the Role of the manifests that grant its rights; those of manifests/base if absent. */
  readonly role?: string;
  /** Whether the token endpoint issues under this profile. */
  readonly hasTokenEndpoint: boolean;
  /** The unverifiedUserAnnotations that it knows. A request with any other is denied. */
  readonly annotations?: KnownAnnotations;
  /** Whether it needs to know which podCertificate sources pods have for it. They are read for no other signer. */
  readonly readsSources?: boolean;
  /** For a signer without a section in the configuration. */
  readonly settings?: SignerConfig;
  /** Makes the decision who a pod is. Called once in the life of a replica. */
  readonly identifier: (settings: SignerSettings, needs: IdentifierNeeds) => Identify;
  readonly certificate: (settings: SignerSettings) => CertificateProfile;
}

/** The configuration of a signer. */
export function settingsOf(
  config: Config,
  { name, settings, hasTrustDomain }: SignerProfile,
): SignerSettings {
  const sections: Readonly<Record<string, SignerConfig>> = config.signers;
  const section = settings ?? sections[name];
  if (!section) throw new Error(`signer ${name} has no settings`);
  return { ...section, trustDomain: hasTrustDomain ? config.trustDomain : undefined };
}
