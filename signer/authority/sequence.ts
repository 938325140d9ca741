import { hash } from 'node:crypto';
import type { Pool } from './pool.ts';
import { type PoolProblem, poolProblem } from './problem.ts';
import { publishedJwtKeys, publishedRoots } from './published-content.ts';

/**
 * What was published of a pool: enough to see whether another one may take its place. It stands beside the published
 * roots, so that it outlives every replica and the Secret.
 */
export interface PoolMark {
  readonly sequence: number;
  /** SHA-256, in hex, over the fingerprints of roots and JWT keys: the same for every version of kubespiffe. */
  readonly content: string;
}

/** The mark of a pool. */
export function markOf(pool: Pool): PoolMark {
  const roots = publishedRoots(pool).map(({ sha256Hex }) => sha256Hex);
  const kids = publishedJwtKeys(pool).map(({ kid }) => kid);
  return { sequence: pool.sequence, content: hash('sha256', JSON.stringify([roots, kids]), 'hex') };
}

/**
 * Why a pool may not follow what was published: those who poll the bundle take the greater sequence, so content that
 * comes with a smaller one, or with the same one as other content, would reach some of them and not the others
 * (SPIFFE Trust Domain and Bundle 4.1.1). Undefined where it may.
 */
export function sequenceProblem(
  pool: Pool,
  published: Iterable<PoolMark | undefined>,
): PoolProblem | undefined {
  const { sequence, content } = markOf(pool);
  for (const mark of published) {
    if (!mark || sequence > mark.sequence) continue;
    if (sequence === mark.sequence && content === mark.content) continue;
    const what =
      sequence === mark.sequence
        ? `is ${sequence}, as that of a pool with other roots or keys which was published`
        : `is ${sequence}, and a pool of sequence ${mark.sequence} was published`;
    return poolProblem(
      'PoolSequenceNotRaised',
      'pool.sequence',
      what,
      'if this is an old copy, put it back with `kubespiffe ca restore`, which raises the sequence and keeps taints; ' +
        `if it was changed by hand, set sequence to ${mark.sequence + 1}`,
    );
  }
  return undefined;
}

/**
 * The sequence of a pool that takes the place of others, at `now` in seconds since the epoch: above all that are
 * known. The sequence of a lost pool may be unknown. It grew by one with each change, and the time has grown faster.
 */
export function freshSequence(now: number, ...known: readonly number[]): number {
  return Math.max(now, ...known.map((sequence) => sequence + 1));
}
