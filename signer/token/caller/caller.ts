import type { Limiter } from '../../kube/limiter.ts';
import { pass, type Refused, refuse } from '../../observe/checked.ts';

/** The pod that a credential proves, as Events and audit lines name it. */
export interface ProvedOwner {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  /** Identifies the credential elsewhere: `jti` of a token (empty for tokens without), serial of a certificate. */
  readonly id: string;
}

/** The pod that sent a request, once its credential is verified. Whether it may have an SVID is decided later. */
export interface Caller extends ProvedOwner {
  /** Where the pod runs, if the credential says so. */
  readonly node?: { readonly name: string; readonly uid: string };
  /** End of the credential, seconds since the epoch. Nothing issued for it may outlive it. */
  readonly expiresAt: number;
  /** A token was reviewed by the API server; a certificate was not. */
  readonly provedBy: 'token' | 'certificate';
  /** The SPIFFE ID in a certificate. It has to be the one that its pod has now. */
  readonly spiffeId?: string;
}

/** Result of verifying a credential. A refusal names the pod too if the credential proves it nevertheless. */
export type Authenticated<C extends Caller = Caller> =
  | { readonly ok: true; readonly value: C }
  | (Refused & { readonly owner?: ProvedOwner });

/** @returns the refusal with the pod that the credential proves. */
export function withOwner(refused: Refused, owner: ProvedOwner | undefined): Authenticated<never> {
  return owner ? { ...refused, owner } : refused;
}

/** Charges one request to the rate limit of the pod that sent it. */
export function charge<C extends Caller>(caller: C, podLimits: Pick<Limiter, 'take'>): Authenticated<C> {
  return podLimits.take(caller.pod.uid) > 0 ? withOwner(refuse('PodLimited'), caller) : pass(caller);
}
