import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { SigningKey } from '../../spiffe/pki/sign.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import type { Authority, PooledAuthority } from './authority.ts';
import type { AuthorityRecord } from './document.ts';
import type { JwtAuthority } from './jwt-authority.ts';
import { type Pool, timeProblem } from './pool.ts';
import { type PoolProblem, poolProblem, type Refusable, refuse } from './problem.ts';
import { isPublished } from './states.ts';

/**
 * When an authority may sign: once every verifier can have its root or its key. All times are in seconds.
 */

/** How far a replica's view of the pool may be behind while it still signs: confirmedWithinMs of view.ts. */
const replicaStalenessSeconds = 30;

/** The usual refresh hint of the SPIFFE bundle and max-age of the JWKS. */
const usualRefreshSeconds = 300;

/**
 * How long a root must be published before anything is signed under it. 6 min 30 s: kubelet brings a new root to pods
 * that select bundles by name within 5 min of caching and its sync period of a minute, with its jitter.
 */
export const usualRootPropagationSeconds = 390;

/** How often verifiers of tokens look for new keys of ours. */
export interface JwtPropagation {
  /** `spiffe_refresh_hint` of the bundle. */
  readonly refreshHintSeconds: number;
  /** max-age of the JWKS. */
  readonly jwksMaxAgeSeconds: number;
  /** What the operator wants at least. */
  readonly delaySeconds?: number;
}

/** So that a new key waits for 15 min. */
export const defaultJwtPropagation: JwtPropagation = {
  refreshHintSeconds: usualRefreshSeconds,
  jwksMaxAgeSeconds: usualRefreshSeconds,
};

/** How long a JWT key must be published before it signs (SPIFFE Federation 5.1: 3 to 5 refresh hints). */
export function jwtPropagationSeconds(propagation: JwtPropagation): number {
  const { refreshHintSeconds, jwksMaxAgeSeconds, delaySeconds = 0 } = propagation;
  return Math.max(3 * refreshHintSeconds, jwksMaxAgeSeconds + replicaStalenessSeconds, delaySeconds);
}

/** What is read of an authority of either kind, compiled or as written. */
export type DatedAuthority = Pick<
  AuthorityRecord,
  'kind' | 'state' | 'createdAt' | 'publishedAt' | 'activatedAt'
>;

/**
 * From when an authority may sign: a propagation delay after it was published. One that was published before all others
 * of its pool signs at once, since no bundle without it was ever served.
 *
 * @returns undefined where the pool does not say when it was published.
 */
export function signsFrom(
  pool: Iterable<DatedAuthority>,
  authority: DatedAuthority,
  propagationSeconds: number,
): Seconds | undefined {
  const publishedAt = publishedAtOf(authority);
  if (publishedAt === undefined) return undefined;
  for (const each of pool) {
    if (each.state === 'prepared' || each.state === 'preview') continue;
    const theirs = publishedAtOf(each);
    if (theirs === undefined || theirs < publishedAt) return publishedAt + propagationSeconds;
  }
  return publishedAt;
}

/**
 * Pools of old may have X.509 authorities without `publishedAt`. They were published at the latest when they became
 * active, or where that is not known either, are taken to be as old as their key.
 */
function publishedAtOf(authority: DatedAuthority): Seconds | undefined {
  const { kind, publishedAt, activatedAt, createdAt } = authority;
  const time = publishedAt ?? (kind === 'X509' ? (activatedAt ?? createdAt) : undefined);
  if (time === undefined) return undefined;
  const known = timesOf.get(authority);
  if (known?.time === time) return known.seconds;
  const seconds = Date.parse(time) / 1000;
  timesOf.set(authority, { time, seconds });
  return seconds;
}

/** The times of the pool are asked for before and after each signature, and are slow to parse. */
const timesOf = new WeakMap<DatedAuthority, { readonly time: string; readonly seconds: Seconds }>();

/**
 * When something that is published at `now` counts as published: always after what the pool published first, so that it
 * never counts as the first itself.
 */
export function publishedLater(pool: Iterable<DatedAuthority>, now: Seconds): Seconds {
  const times = [...pool].flatMap((each) => publishedAtOf(each) ?? []);
  return times.length === 0 ? now : Math.max(now, Math.min(...times) + 1);
}

/** The authority that signs certificates, or why none does. */
export type Signable = Refusable<{ authority: Authority }>;

/** The authority of a sound pool that signs certificates at `now`, or why there is none. */
export function signingAuthorityAt(pool: Pool, now: Seconds, propagationSeconds: number): Signable {
  const { active } = pool;
  if (!hasSigner(active)) {
    const remedy =
      'make a trusted CA active once every pod has its root, or add a new one (docs/reference/pool.md#the-next-ca)';
    return refuse('PoolNotSigning', 'pool.authorities', 'no X509 authority is active', remedy);
  }
  if (active.tainted) {
    const field = `${active.field}.tainted`;
    const replaceTainted = 'make another CA active (docs/reference/pool.md#when-a-ca-key-is-stolen)';
    const what = `authority ${active.id} is tainted and must not sign`;
    return refuse('PoolNotSigning', field, what, replaceTainted);
  }
  const problem = timeProblem(pool, now);
  if (problem) return { ok: false, problem };
  const isReady = (each: PooledAuthority) =>
    (signsFrom(allOf(pool), each, propagationSeconds) ?? Number.NEGATIVE_INFINITY) <= now;
  if (isReady(active)) {
    const lost = keyProblem(active, active.signingAuthority.signer);
    return lost ? { ok: false, problem: lost } : { ok: true, authority: active };
  }

  const from = rfc3339(signsFrom(allOf(pool), active, propagationSeconds) ?? now);
  const previous = pool.authorities.find(
    (each) =>
      each !== active &&
      isPublished(each.state) &&
      hasSigner(each) &&
      !each.tainted &&
      !timeProblem({ ...pool, active: each }, now) &&
      isReady(each),
  );
  return refuse(
    'RootTooNew',
    `${active.field}.publishedAt`,
    `is so recent that verifiers may not have the root of authority ${active.id} before ${from}`,
    previous
      ? `wait until then, or make authority ${previous.id} active again in the meantime`
      : 'wait until then',
  );
}

/** A JWT authority that has what signing takes. */
export type SigningJwtAuthority = JwtAuthority & { readonly signingKey: SigningKey };

export type JwtSignable = Refusable<{ authority: SigningJwtAuthority }>;

/** The key that signs with an algorithm at `now`, or why there is none. */
export function jwtSigningAt(
  pool: Pool,
  algorithm: JwtSigningAlgorithm,
  now: Seconds,
  propagationSeconds: number,
): JwtSignable {
  const active = pool.activeJwt(algorithm);
  if (!hasSigningKey(active)) {
    const what = `no JWT-${algorithm} authority is active`;
    const remedy = `bring one in with \`kubespiffe ca rotate --type ${algorithm.toLowerCase()}\``;
    return refuse('PoolNotSigning', 'pool.authorities', what, remedy);
  }
  const { field, id } = active;
  const replaceTainted =
    `bring in another key with \`kubespiffe ca rotate --type ${algorithm.toLowerCase()}\` ` +
    '(docs/reference/pool.md#the-next-jwt-key)';
  if (active.tainted) {
    const what = `authority ${id} is tainted and must not sign`;
    return refuse('PoolNotSigning', `${field}.tainted`, what, replaceTainted);
  }
  const from = signsFrom(allOf(pool), active, propagationSeconds);
  const publishedAt = `${field}.publishedAt`;
  if (from === undefined) {
    const what = `is missing, so it is not known whether verifiers have the key of ${id}`;
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
  const lost = keyProblem(active, active.signingKey);
  return lost ? { ok: false, problem: lost } : { ok: true, authority: active };
}

/** Why a key that is kept outside of the pool cannot be used now. */
function keyProblem({ id, field }: { id: string; field: string }, key: SigningKey): PoolProblem | undefined {
  const reason = key.problem?.();
  if (reason === undefined) return undefined;
  const remedy =
    'it is tried again by itself; the log of the signer has the reason, and docs/guides/keys.md says what to look at';
  const what = `the key of authority ${id} cannot be used now`;
  return { ...poolProblem('KeyUnavailable', `${field}.keyRef`, what, remedy), cause: reason };
}

/** Every authority of a pool, of both kinds. */
export function allOf(pool: Pool): readonly (PooledAuthority | JwtAuthority)[] {
  return [...pool.authorities, ...pool.jwt];
}

function hasSigner(authority: PooledAuthority | undefined): authority is Authority {
  return authority?.signingAuthority !== undefined;
}

function hasSigningKey(authority: JwtAuthority | undefined): authority is SigningJwtAuthority {
  return authority?.signingKey !== undefined;
}
