import { hash } from 'node:crypto';
import type { Membership } from './membership.ts';

/**
 * The replicas in the order in which they may do a piece of work, by rendezvous hashing: each replica computes the
 * same order, and a replica that joins or leaves moves only its own share.
 *
 * @param item UID or name of the object to work on.
 */
export function ranking(item: string, replicas: readonly string[]): readonly string[] {
  const [only, ...others] = replicas;
  if (only === undefined || others.length === 0) return replicas;
  return replicas
    .map((replica) => ({ replica, weight: hash('sha256', `${replica}\0${item}`, 'hex') }))
    .sort((a, b) => (a.weight < b.weight ? 1 : a.weight > b.weight ? -1 : 0))
    .map(({ replica }) => replica);
}

/** The rank of this replica among those that live, for a key. */
export function ownRank({ self, members }: Pick<Membership, 'self' | 'members'>): (key: string) => number {
  return (key) => ranking(key, members()).indexOf(self);
}
