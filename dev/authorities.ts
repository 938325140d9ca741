import { createAuthority, newPool } from '../signer/authority/create.ts';
import { createJwtAuthority } from '../signer/authority/create-jwt.ts';
import type { AuthorityRecord, PoolDocument } from '../signer/authority/document.ts';
import { jwtSigningAt, publishedLater, signingAuthorityAt } from '../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../signer/authority/pool.ts';
import type { PoolView } from '../signer/authority/view.ts';
import type { Time } from '../signer/kube/time.ts';
import { advance, type Delays, publishNext, taintActive } from './succession.ts';

/** The pool of a development trust domain. Its keys are in memory only, and end with the process. */
export interface Authorities extends Pick<PoolView, 'signable' | 'jwtSignable'> {
  current(): Pool;
  /** Publishes a new CA and JWT key, which sign after the propagation delay. */
  rotate(): Promise<void>;
  /** Taints the CA and the JWT key that sign, and lets new ones sign at once. */
  taint(): Promise<void>;
  /** Lets time have its effect. @returns whether anything is published, or signs, that did not before. */
  advance(): boolean;
}

export async function createAuthorities(needs: {
  readonly trustDomain: string;
  readonly delays: Delays;
  readonly time: Pick<Time, 'now'>;
}): Promise<Authorities> {
  const { trustDomain, delays } = needs;
  const seconds = () => Math.floor(needs.time.now() / 1000);
  let made = 0;

  async function makeAuthorities(now: number): Promise<AuthorityRecord[]> {
    made += 1;
    return [
      await createAuthority({ id: `ca-${made}`, trustDomain, now }),
      await createJwtAuthority({ id: `jwt-${made}`, key: 'es256', now }),
    ];
  }

  let document = newPool(trustDomain, ...(await makeAuthorities(seconds())));
  let pool = compile(document);

  function take(next: PoolDocument): boolean {
    if (next === document) return false;
    pool = compile(next);
    document = next;
    return true;
  }
  async function change(by: typeof publishNext): Promise<void> {
    const now = seconds();
    const fresh = await makeAuthorities(publishedLater(document.authorities, now));
    take(by(document, fresh, now));
  }

  return {
    current: () => pool,
    // The succession has seen to the delay.
    signable: (now) => signingAuthorityAt(pool, now, 0),
    jwtSignable: (algorithm, now) => jwtSigningAt(pool, algorithm, now, 0),
    rotate: () => change(publishNext),
    taint: () => change(taintActive),
    advance: () => take(advance(document, delays, seconds())),
  };
}

function compile(document: PoolDocument): Pool {
  const compiled = compilePool(document, document.trustDomain);
  if (!compiled.ok) throw new Error(`the development pool is not sound: ${compiled.problem.message}`);
  return compiled.pool;
}
