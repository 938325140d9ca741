import type { KeyObject } from 'node:crypto';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import type { JwtAuthority } from './jwt-authority.ts';
import type { Pool } from './pool.ts';
import { type PoolProblem, refuse } from './problem.ts';

/** What a replica may be behind with its view of the pool and still sign, in seconds: confirmedWithinMs of view.ts. */
const replicaStalenessSeconds = 30;

/** How often others look for new keys of ours. */
export interface JwtPropagation {
  /** `spiffe_refresh_hint` of the bundle, in seconds. */
  readonly refreshHintSeconds: number;
  /** max-age of the JWKS, in seconds. */
  readonly jwksMaxAgeSeconds: number;
  /** What the operator wants at least, in seconds. */
  readonly delaySeconds?: number;
}

/** The usual intervals: 5 min for both, so that a new key waits for 15 min. */
export const defaultJwtPropagation: JwtPropagation = { refreshHintSeconds: 300, jwksMaxAgeSeconds: 300 };

/** How long a key has to be published before it signs, in seconds (SPIFFE Federation 5.1: 3 to 5 refresh hints). */
export function jwtPropagationSeconds(propagation: JwtPropagation): number {
  const { refreshHintSeconds, jwksMaxAgeSeconds, delaySeconds = 0 } = propagation;
  return Math.max(3 * refreshHintSeconds, jwksMaxAgeSeconds + replicaStalenessSeconds, delaySeconds);
}

/** A JWT authority that has what signing takes. */
export type SigningJwtAuthority = JwtAuthority & { readonly privateKey: KeyObject };

export type JwtSignable = { ok: true; authority: SigningJwtAuthority } | { ok: false; problem: PoolProblem };

/**
 * From when on everybody who verifies tokens knows the key, so that it may sign; undefined for a key that was not
 * published. A key that is as old as the pool signs at once: no bundle without it was ever served.
 */
export function jwtSignsFrom(
  pool: Pool,
  authority: JwtAuthority,
  propagationSeconds: number,
): Seconds | undefined {
  const publishedAt = secondsOf(authority.publishedAt);
  if (publishedAt === undefined) return undefined;
  return isAsOldAsPool(pool, publishedAt) ? publishedAt : publishedAt + propagationSeconds;
}

/** The key that signs with an algorithm at `now`, or why there is none. Pure. */
export function jwtSigningAt(
  pool: Pool,
  algorithm: JwtSigningAlgorithm,
  now: Seconds,
  propagationSeconds: number,
): JwtSignable {
  const active = pool.activeJwt(algorithm);
  if (!hasPrivateKey(active)) {
    const what = `no JWT-${algorithm} authority is active`;
    const remedy = `add one with \`kubespiffe ca add-jwt-key --type ${algorithm.toLowerCase()}\``;
    return refuse('PoolNotSigning', 'pool.authorities', what, remedy);
  }
  const { field, id } = active;
  const replaceTainted =
    `add a key with \`kubespiffe ca add-jwt-key --type ${algorithm.toLowerCase()}\` and make it active ` +
    '(docs/reference/pool.md#the-next-jwt-key)';
  if (active.tainted) {
    const what = `authority ${id} is tainted and must not sign`;
    return refuse('PoolNotSigning', `${field}.tainted`, what, replaceTainted);
  }
  const from = jwtSignsFrom(pool, active, propagationSeconds);
  const publishedAt = `${field}.publishedAt`;
  if (from === undefined) {
    const what = `is missing, so nobody can tell whether verifiers know the key of ${id}`;
    return refuse(
      'JwtKeyTooNew',
      publishedAt,
      what,
      'set it to the time at which the key was published, or to the present time if that is not known',
    );
  }
  if (now < from) {
    const what = `is so recent that not all verifiers know the key of ${id} before ${rfc3339(from)}`;
    return refuse(
      'JwtKeyTooNew',
      publishedAt,
      what,
      'wait until then, or make the previous key active again unless it is tainted',
    );
  }
  return { ok: true, authority: active };
}

/** Whether nothing of the pool was published before. What has been published at an unknown time may have been. */
function isAsOldAsPool(pool: Pool, publishedAt: Seconds): boolean {
  return [...pool.authorities, ...pool.jwt].every((each) => {
    if (each.state === 'prepared' || each.state === 'preview') return true;
    const theirs = secondsOf(each.publishedAt);
    return theirs !== undefined && theirs >= publishedAt;
  });
}

function hasPrivateKey(authority: JwtAuthority | undefined): authority is SigningJwtAuthority {
  return authority?.privateKey !== undefined;
}

function secondsOf(time: string | undefined): Seconds | undefined {
  return time === undefined ? undefined : Date.parse(time) / 1000;
}
