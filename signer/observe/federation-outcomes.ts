/**
 * The table of outcomes of a FederatedTrustDomain. A row is what its condition, the Event on it, the metric and the
 * documentation (docs/reference/outcomes.md has a heading for each code) have in common.
 */

/** The condition that is True with this outcome, besides Ready. `none` where only Ready says it. */
export type FederationCondition = 'BundleInvalid' | 'Unreachable' | 'none';

interface FederationOutcome {
  readonly condition: FederationCondition;
  /** What is wrong, and what to do; `{}` is replaced by the detail of the case. */
  readonly message: string;
}

const row = (condition: FederationCondition, message: string): FederationOutcome => ({ condition, message });

export const federationOutcomes = {
  BundleTaken: row('none', 'The bundle is {}.'),
  BundleHeld: row('none', 'The bundle that was taken before stays in use. {}'),
  BundleStale: row(
    'none',
    'The bundle in use was not confirmed for three refresh intervals or more. It stays in use. {}',
  ),
  Paused: row('none', 'Nothing is fetched, because spec.paused is true. {}.'),
  FederationSpecInvalid: row('none', 'The resource cannot be used: {}. Correct it.'),
  OwnTrustDomain: row(
    'none',
    '{} is the trust domain of this cluster. Its roots come from its own pool. Set peerOf: self for another cluster of this ' +
      'trust domain, or delete this resource.',
  ),
  TrustDomainConflict: row(
    'none',
    'FederatedTrustDomain {} was created earlier for the same trust domain, and it alone counts. Delete one of the two.',
  ),
  EndpointUnreachable: row(
    'Unreachable',
    'The bundle could not be fetched: {}. Check the source in the spec, the network, and how the endpoint is verified.',
  ),
  EndpointUnverifiable: row(
    'Unreachable',
    'The endpoint cannot be verified: {}. Correct bootstrapBundle, or give the trust domain of endpointSPIFFEID a FederatedTrustDomain of its own.',
  ),
  BundleMalformed: row(
    'BundleInvalid',
    'The bundle was not taken: {}. Tell the operator of the trust domain.',
  ),
  BundleHasOwnAuthority: row(
    'BundleInvalid',
    'The bundle was not taken: it has {} of this cluster. From another cluster of this trust domain take the path ' +
      '/bundle/cluster; from another trust domain take its own bundle.',
  ),
  BundleSequenceWentBack: row(
    'BundleInvalid',
    'The bundle was not taken: {}. It is older than the one that was taken before. If the other side was restored from a backup, ' +
      'recreate this resource.',
  ),
  BundleWithoutRoots: row(
    'BundleInvalid',
    'The bundle was not taken: {}. All certificates of the trust domain would be refused. To end the trust, delete this resource.',
  ),
} satisfies Record<string, FederationOutcome>;

export type FederationReason = keyof typeof federationOutcomes;

/** What a person reads. */
export function explainFederation(reason: FederationReason, detail: string): string {
  return federationOutcomes[reason].message.replace('{}', () => detail);
}
