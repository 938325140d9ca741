import { createAuthority, newPool } from '../signer/authority/create.ts';
import { createJwtAuthority } from '../signer/authority/create-jwt.ts';
import type { AuthorityRecord, PoolDocument } from '../signer/authority/document.ts';
import { jwtSigningAt, publishedLater, signingAuthorityAt } from '../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../signer/authority/pool.ts';
import type { PoolView } from '../signer/authority/view.ts';
import type { Time } from '../signer/kube/time.ts';
import { asNext, type Delays, describeChange, dropEnded, nextSignsFrom, succeed } from './succession.ts';

/** The pool of a development trust domain. Its keys are in memory only, and end with the process. */
export interface Authorities extends Pick<PoolView, 'signable' | 'jwtSignable' | 'onChange'> {
  current(): Pool;
  /**
   * Lets the next CA and JWT key sign, and publishes others.
   * @returns 0, or the seconds to wait: the next ones were published a moment ago.
   */
  rotate(): Promise<number>;
  /** The same, at once, and taints those that signed. */
  taint(): Promise<void>;
  /** Drops authorities whose time is over. */
  tick(): void;
}

export async function createAuthorities(needs: {
  readonly trustDomain: string;
  readonly delays: Delays;
  readonly time: Pick<Time, 'now'>;
  readonly log: (line: string) => void;
}): Promise<Authorities> {
  const { trustDomain, delays } = needs;
  const seconds = () => Math.floor(needs.time.now() / 1000);
  const listeners: (() => void)[] = [];
  let made = 0;

  async function makeAuthorities(now: number): Promise<AuthorityRecord[]> {
    made += 1;
    return [
      await createAuthority({ id: `ca-${made}`, trustDomain, now }),
      await createJwtAuthority({ id: `jwt-${made}`, key: 'es256', now }),
    ];
  }

  // Made at the same moment: every bundle has the next authorities too, so they may sign from the start.
  const start = seconds();
  const first = await makeAuthorities(start);
  const next = await makeAuthorities(start);
  let document = newPool(trustDomain, ...first, ...next.map(asNext));
  let pool = compile(document);

  function take(changed: PoolDocument): void {
    if (changed === document) return;
    for (const line of describeChange(document, changed)) needs.log(line);
    pool = compile(changed);
    document = changed;
    for (const listener of listeners) listener();
  }
  async function replace(tainted: boolean): Promise<void> {
    const now = seconds();
    const fresh = await makeAuthorities(publishedLater(document.authorities, now));
    take(succeed(document, fresh, { tainted }, now));
  }

  return {
    current: () => pool,
    // The succession has seen to the delay.
    signable: (now) => signingAuthorityAt(pool, now, 0),
    jwtSignable: (algorithm, now) => jwtSigningAt(pool, algorithm, now, 0),
    onChange: (listener) => {
      listeners.push(listener);
    },
    async rotate() {
      const waitSeconds = Math.max(0, nextSignsFrom(document, delays) - seconds());
      if (waitSeconds === 0) await replace(false);
      return waitSeconds;
    },
    taint: () => replace(true),
    tick: () => take(dropEnded(document, delays, seconds())),
  };
}

function compile(document: PoolDocument): Pool {
  const compiled = compilePool(document, document.trustDomain);
  if (!compiled.ok) throw new Error(`the development pool is not sound: ${compiled.problem.message}`);
  return compiled.pool;
}
