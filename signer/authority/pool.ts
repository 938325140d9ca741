import { createPublicKey } from 'node:crypto';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type KeysByRef, keysOfReaders } from '../keys/remote-keys.ts';
import { minCertificateSeconds, type Secret } from '../kube/types.ts';
import { type PooledAuthority, readAuthority } from './authority.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { type JwtAuthority, readJwtAuthority } from './jwt-authority.ts';
import { poolJsonIn, poolSecret } from './pool-secret.ts';
import { type PoolProblem, type PoolProblemReason, poolProblem, type Refusable, refuse } from './problem.ts';
import { readPoolDocument } from './read-document.ts';
import { keyOfRequest, readPrivateKey } from './read-keys.ts';
import { type AuthorityState, isJwtKind, isPublished } from './states.ts';

export type { Authority, PooledAuthority } from './authority.ts';
export type { JwtAuthority } from './jwt-authority.ts';
export type { PoolProblem } from './problem.ts';

/** A pool that was read and found sound. */
export interface Pool {
  /** What it was made of. */
  readonly document: PoolDocument;
  /** Undefined where its authorities sign for no trust domain. */
  readonly trustDomain: string | undefined;
  readonly sequence: number;
  /** The X509 authorities, in the order in which they are written. */
  readonly authorities: readonly PooledAuthority[];
  /** What the live bundles hold: the roots that are trusted, active or retiring, each once, order as written. */
  readonly roots: readonly CertificateFacts[];
  /** What the preview bundle holds: the same, and the roots in preview. */
  readonly previewRoots: readonly CertificateFacts[];
  readonly active: PooledAuthority | undefined;
  /** The JWT authorities, in the order in which they are written. */
  readonly jwt: readonly JwtAuthority[];
  /** The authority that signs JWT-SVIDs with an algorithm, by its state alone. */
  activeJwt(algorithm: JwtSigningAlgorithm): JwtAuthority | undefined;
}

/** A problem with `pool` is one of time alone: the pool is sound, and its active authority cannot sign now. */
export type PoolResult = { ok: true; pool: Pool } | { ok: false; problem: PoolProblem; pool?: Pool };

/**
 * Reads a pool Secret whole: shape, states, keys, certificates, chains, trust domain, and whether the active
 * authority can sign at `now`. A pool with more than one problem gets the first, in the order of its fields.
 */
export function parsePool(
  secret: Secret | undefined,
  options: { trustDomain: string | undefined; now: Seconds; keysByRef?: KeysByRef },
): PoolResult {
  if (!secret) {
    const remedy =
      'put a copy back with `kubespiffe ca restore`; for a first installation make a pool with `kubespiffe ca create`; ' +
      'or correct the setting pool';
    return refuse('PoolMissing', 'pool', 'there is no such Secret', remedy);
  }
  const json = poolJsonIn(secret);
  if (!json) return refuse('PoolEmpty', 'pool', `the Secret has no key ${poolSecret.key}`, whatElse(secret));

  const read = readPoolDocument(json);
  if (!read.ok) return read;
  const compiled = compilePool(read.document, options.trustDomain, options.keysByRef);
  if (!compiled.ok) return compiled;
  const problem = timeProblem(compiled.pool, options.now);
  return problem ? { ok: false, problem, pool: compiled.pool } : compiled;
}

/** Reads keys and certificates of a document, and checks that they fit together and belong to the trust domain. */
export function compilePool(
  document: PoolDocument,
  trustDomain: string | undefined,
  keysByRef: KeysByRef = keysOfReaders,
): Refusable<{ pool: Pool }> {
  if (document.trustDomain !== trustDomain) {
    return refuse(
      'PoolTrustDomainMismatch',
      'pool.trustDomain',
      `is ${quoted(document.trustDomain)}, and the signer is configured for ${quoted(trustDomain)}`,
      'name the pool of that trust domain in the setting pool; change the setting trustDomain only if it is wrong, since ' +
        'every SPIFFE ID contains it; a new pool that was made with a misspelt --trust-domain, under which nothing was issued: ' +
        'delete the Secret, and run `kubespiffe ca create` again',
    );
  }
  if (document.authorities.length === 0) {
    const remedy = 'put a copy back with `kubespiffe ca restore`';
    return refuse('PoolEmpty', 'pool.authorities', 'there is none', remedy);
  }
  const authorities: PooledAuthority[] = [];
  const jwt: JwtAuthority[] = [];
  const ids = new Map<string, string>();
  const activeAt = new Map<string, string>();
  for (const [index, record] of document.authorities.entries()) {
    const field = `pool.authorities[${index}]`;
    const namesake = ids.get(record.id);
    if (namesake) {
      const what = `${record.id} is the id of ${namesake} as well`;
      return refuse('PoolMalformed', `${field}.id`, what, 'give each authority a unique id');
    }
    ids.set(record.id, field);
    const other = activeAt.get(record.kind);
    if (record.state === 'active' && other) {
      const what = `is active, and so is ${other}; only one ${record.kind} authority may be`;
      return refuse(
        'PoolMalformed',
        `${field}.state`,
        what,
        'set the one that must no longer sign to retiring',
      );
    }
    if (record.state === 'active') activeAt.set(record.kind, field);
    if (isJwtKind(record.kind)) {
      const result = readJwtAuthority(record, field, keysByRef);
      if (!result.ok) return result;
      const twin = jwt.find(({ kid }) => kid === result.authority.kid);
      if (twin) {
        const remedy = 'remove one of the two authorities';
        return refuse('PoolMalformed', field, `has the key of ${twin.field} as well`, remedy);
      }
      jwt.push(result.authority);
      continue;
    }
    if (record.request !== undefined) {
      const problem = requestProblem(record, field);
      if (problem) return { ok: false, problem };
      continue;
    }
    const result = readAuthority(record, field, trustDomain, keysByRef);
    if (!result.ok) return result;
    authorities.push(result.authority);
  }
  const rootsOf = (isWanted: (state: AuthorityState) => boolean) => {
    const wanted = authorities.filter(({ state }) => isWanted(state));
    return [...new Map(wanted.map(({ root }) => [root.sha256Hex, root])).values()];
  };
  return {
    ok: true,
    pool: {
      document,
      trustDomain,
      sequence: document.sequence,
      authorities,
      roots: rootsOf(isPublished),
      previewRoots: rootsOf((state) => isPublished(state) || state === 'preview'),
      active: authorities.find((each) => each.state === 'active'),
      jwt,
      activeJwt: (algorithm) => jwt.find((each) => each.state === 'active' && each.algorithm === algorithm),
    },
  };
}

/**
 * What is wrong with an authority that waits for its certificate: the key has to be that of the request. For a key outside of the
 * pool only its signatures show that.
 */
function requestProblem(record: AuthorityRecord, field: string): PoolProblem | undefined {
  const remedy = `remove the authority with \`kubespiffe ca remove ${record.id}\`, and make a new request`;
  const asked = keyOfRequest(record.request ?? '');
  if (!asked) {
    const what = 'is not one PEM certificate request with a key that is supported';
    return poolProblem('PoolMalformed', `${field}.request`, what, remedy);
  }
  if (record.keyRef !== undefined) return undefined;
  const key = readPrivateKey(record.privateKey ?? '');
  if (!key.ok) return poolProblem('PoolMalformed', `${field}.privateKey`, key.reason, remedy);
  const own = createPublicKey(key.value).export({ type: 'spki', format: 'der' });
  if (own.equals(asked)) return undefined;
  const what = `does not belong to the request of authority ${record.id}`;
  return poolProblem('PoolKeyMismatch', `${field}.privateKey`, what, remedy);
}

const quoted = (trustDomain: string | undefined) =>
  trustDomain === undefined ? 'no trust domain' : JSON.stringify(trustDomain);

/** Why the active authority cannot sign at `now` for reasons of time: not yet, no longer, or not for long enough. */
export function timeProblem(pool: Pool, now: Seconds): PoolProblem | undefined {
  const active = pool.active;
  if (!active) return undefined;
  const { field } = active;
  const chain = [...active.intermediates, active.root];
  const renew = 'add a new CA and make it active (docs/reference/pool.md#the-next-ca)';
  const problemOf = (each: CertificateFacts, reason: PoolProblemReason, what: string, remedy = renew) => {
    const place = each === active.root ? 'certificate' : `intermediates[${chain.indexOf(each)}]`;
    return poolProblem(reason, `${field}.${place}`, `of authority ${active.id} ${what}`, remedy);
  };

  const early = chain.find((each) => now < each.notBefore);
  if (early) {
    const remedy = 'check the clock (NTP); if it is right, use another CA or wait until then';
    return problemOf(early, 'PoolNotYetValid', `is valid only from ${rfc3339(early.notBefore)} on`, remedy);
  }
  const late = chain.find((each) => now >= each.notAfter);
  if (late) return problemOf(late, 'PoolExpired', `expired at ${rfc3339(late.notAfter)}`);
  const ending = chain.find((each) => each.notAfter - now < minCertificateSeconds);
  if (!ending) return undefined;
  return problemOf(ending, 'AuthorityExpiring', `ends at ${rfc3339(ending.notAfter)}, in less than an hour`);
}

function whatElse(secret: Secret): string {
  const keys = Object.keys(secret.data ?? {});
  const importable = keys.includes('tls.key') || keys.includes('pool');
  return importable
    ? 'it holds a CA in another form; make a pool from it in another Secret with `kubespiffe ca import`, and name that ' +
        'Secret in the setting pool'
    : 'put a copy back with `kubespiffe ca restore`, or name the Secret of the pool in the setting pool';
}
