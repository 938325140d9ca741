/** Why a pool cannot be used, for metrics and for `kubespiffe ca show`. */
export type PoolProblemReason =
  /** There is no Secret of that name. */
  | 'PoolMissing'
  /** The Secret has no pool in it, or the pool has no authority. */
  | 'PoolEmpty'
  /** The content is not a pool as docs/reference/pool.md describes it. */
  | 'PoolMalformed'
  /** A state that this version does not know. */
  | 'PoolStateUnknown'
  /** The pool, or a certificate in it, belongs to another trust domain than the configured one. */
  | 'PoolTrustDomainMismatch'
  /** A private key that does not belong to the certificate beside it. */
  | 'PoolKeyMismatch'
  | 'PoolExpired'
  | 'PoolNotYetValid'
  /** The pool is sound, but its sequence is not above that of what was published. */
  | 'PoolSequenceNotRaised'
  /** The pool is sound, but lacks roots that are published: certificates that only they verify may be in use. */
  | 'PoolRootsMissing'
  /** The pool is sound, but none of its authorities may sign: none is active, or the active one is tainted. */
  | 'PoolNotSigning'
  /** A root has not been published long enough to be known to all verifiers of certificates. */
  | 'RootTooNew'
  /** A JWT key has not been published long enough to be known to all verifiers of tokens. */
  | 'JwtKeyTooNew'
  /** The key of the active authority is kept elsewhere, and cannot be used now. */
  | 'KeyUnavailable'
  /** The view of the pool was not confirmed by the API server for too long. */
  | 'PoolUnconfirmed'
  /** Less than an hour is left, which is the minimum lifetime of a certificate. */
  | 'AuthorityExpiring';

/** What is wrong, where, and what to do. None of it ever holds key material. */
export interface PoolProblem {
  readonly reason: PoolProblemReason;
  /** Such as `pool.authorities[0].certificate`. */
  readonly field: string;
  /** What is wrong there. */
  readonly what: string;
  readonly remedy: string;
  /** `<field>: <what is wrong>; <remedy>`. */
  readonly message: string;
  /** What a token or a cloud says, which may name accounts and roles: for the log and readiness, not for callers. */
  readonly cause?: string;
}

export function poolProblem(
  reason: PoolProblemReason,
  field: string,
  what: string,
  remedy: string,
): PoolProblem {
  return { reason, field, what, remedy, message: `${field}: ${what}; ${remedy}` };
}

/** The message with what only operators may see. */
export function inFull({ message, cause }: PoolProblem): string {
  return cause === undefined ? message : `${message} (${cause})`;
}

/** What is read of a pool, or what is wrong with it. */
export type Refusable<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly problem: PoolProblem };

/** The same as a verdict. */
export function refuse(...problem: Parameters<typeof poolProblem>): { ok: false; problem: PoolProblem } {
  return { ok: false, problem: poolProblem(...problem) };
}
