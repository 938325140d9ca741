import { makeSpiffeId, type SpiffeId } from './id.ts';

/**
 * First path segment of the SPIFFE IDs of our own infrastructure. IDs of workloads begin with `/ns/`, so neither a
 * ServiceAccount nor anything else in the cluster can come by one.
 */
export const infrastructurePath = 'kubespiffe';

/** The SPIFFE ID of the token endpoint of a trust domain, which is the audience of tokens for JWT-SVIDs too. */
export function endpointIdOf(trustDomain: string): SpiffeId {
  return infrastructureId(trustDomain, 'token-endpoint');
}

/** The only audience that a ServiceAccount token may have: each kind of SVID has one of its own. */
export interface OwnAudiences {
  readonly token: string;
  readonly x509: string;
}

/** The audiences of a trust domain, unless the settings name others. @throws RangeError for no trust domain. */
export function ownAudiences(
  trustDomain: string,
  settings: { readonly [Kind in keyof OwnAudiences]?: string | undefined } = {},
): OwnAudiences {
  return {
    token: settings.token ?? endpointIdOf(trustDomain).uri,
    x509: settings.x509 ?? infrastructureId(trustDomain, 'x509-svid').uri,
  };
}

function infrastructureId(trustDomain: string, name: string): SpiffeId {
  const id = makeSpiffeId(trustDomain, [infrastructurePath, name]);
  if (!id.ok) throw new RangeError(id.reason);
  return id.value;
}
