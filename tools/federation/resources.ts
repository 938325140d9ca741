import {
  allFederatedTrustDomains,
  countingOnes,
  type FederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { createListed } from '../cluster/lists.ts';
import { CliError } from '../errors.ts';

/** What grants the right to read them. */
export const federationViewer = 'ClusterRole kubespiffe-identity-viewer';

/** All FederatedTrustDomains, or the one with this name. @throws CliError where the cluster does not serve them. */
export async function readFederation(api: Transport, name?: string): Promise<FederatedTrustDomain[]> {
  const listed = createListed({ ...allFederatedTrustDomains, ...(name !== undefined && { name }) });
  await listed.fill(api);
  if (listed.isMissing()) {
    const hint =
      'install the CRDs: `kubectl apply -k manifests/crds`; docs/guides/federation.md is the guide';
    throw new CliError('API_NOT_SERVED', 'the cluster has no resource FederatedTrustDomain', hint);
  }
  return [...listed.store.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The resource that a person means by its name, or by its trust domain. @throws CliError if there is none. */
export function resourceNamed(all: readonly FederatedTrustDomain[], name: string): FederatedTrustDomain {
  const found = all.find((each) => each.name === name) ?? countingOnes(all).get(name);
  if (found) return found;
  const hint = '`kubespiffe federation list` shows which there are';
  throw new CliError('USAGE', `there is no FederatedTrustDomain with the name or trust domain ${name}`, hint);
}
