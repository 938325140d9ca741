import { makeSpiffeId, type SpiffeId } from '../../spiffe/id.ts';
import type { Result } from '../../spiffe/pki/result.ts';

/** The facts that a name is made from; all of them are held against the live pod before this is asked. */
export interface WorkloadFacts {
  readonly namespace: string;
  readonly serviceAccountName: string;
}

/** The default SPIFFE ID: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Pure. */
export function spiffeIdOf(trustDomain: string, facts: WorkloadFacts): Result<SpiffeId> {
  return makeSpiffeId(trustDomain, ['ns', facts.namespace, 'sa', facts.serviceAccountName]);
}
