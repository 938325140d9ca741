import { type AuthorityRecord, freeId, type PoolDocument } from './document.ts';
import { keyOf, materialOf, rootOf } from './material.ts';
import { freshSequence } from './sequence.ts';
import { isPublished } from './states.ts';
import { makeActive } from './transitions.ts';

/**
 * The pool that takes the place of the live one when a copy of old is restored. Pure.
 *
 * Readers that poll the bundle take the greater sequence (SPIFFE Trust Domain and Bundle 4.1.1), so it is raised
 * above everything that may have been published. What was tainted since the copy was made stays so, as a tainted
 * authority never signs again; what was retired since stays retired and loses its key. Nothing else that only the live
 * pool has is lost, neither a key nor a place in the bundles: certificates and tokens may be in use that only
 * those verify. The copy says which authority signs; the live pool does where the copy has none that still may.
 *
 * @param copy what is restored. live: the pool now, if there is one. publishedSequence: the highest sequence that
 *   was ever published, where it is known. now: seconds since the epoch.
 */
export function restoredPool(
  copy: PoolDocument,
  known: {
    readonly live?: PoolDocument;
    readonly publishedSequence?: number;
    readonly now: number;
  },
) {
  const { live, publishedSequence = 0, now } = known;
  const sequence = freshSequence(now, copy.sequence, live?.sequence ?? 0, publishedSequence);

  const there = Map.groupBy(live?.authorities ?? [], materialOf);
  const retiredRoots = rootsRetiredIn(live?.authorities ?? []);
  const taintedKeys = new Set((live?.authorities ?? []).filter(({ tainted }) => tainted).map(keyOf));
  const stillTainted: string[] = [];
  const stillRetired: string[] = [];
  const kept = new Set<string>();
  const ofCopy = copy.authorities.map((each) => {
    const same = there.get(materialOf(each)) ?? [];
    const isTainted = taintedKeys.has(keyOf(each));
    if (isTainted && !each.tainted) stillTainted.push(each.id);
    if (retiredRoots.has(rootOf(each) ?? '') || same.some(({ state }) => state === 'retired')) {
      if (each.state !== 'retired') stillRetired.push(each.id);
      return { ...withoutKey(each), state: 'retired' as const, tainted: each.tainted || isTainted };
    }
    const published = isPublished(each.state) ? undefined : same.find(({ state }) => isPublished(state));
    if (published) kept.add(each.id);
    return { ...(published ?? each), id: each.id, tainted: each.tainted || isTainted };
  });

  const inCopy = new Set(copy.authorities.map(materialOf));
  const isOnlyThere = (each: AuthorityRecord) => !inCopy.has(materialOf(each));
  const onlyThere = (live?.authorities ?? []).filter(isOnlyThere);
  const ids = new Set(copy.authorities.map(({ id }) => id));
  const added = onlyThere.map((each) => {
    const id = freeId(each.id, ids);
    ids.add(id);
    if (each.state === 'retired') return { ...withoutKey(each), id };
    kept.add(id);
    return { ...each, id };
  });

  const authorities = oneActiveEach([...ofCopy, ...added], kept);
  return {
    pool: { ...copy, sequence, authorities },
    /** The authorities of the copy that were tainted since it was made, by id. */
    stillTainted,
    /** What the pool has of the live one and not of the copy: authorities that are only there, or only there published. */
    kept: authorities.filter(({ id }) => kept.has(id)),
    /** The authorities of the copy that were retired since it was made, by id. */
    stillRetired,
  };
}

/** SHA-256 of the roots that were taken out of the bundles: retired, and in no other authority published. */
function rootsRetiredIn(authorities: readonly AuthorityRecord[]): ReadonlySet<string> {
  const rootsOf = (wanted: readonly AuthorityRecord[]) =>
    new Set(wanted.flatMap((each) => rootOf(each) ?? []));
  const retired = rootsOf(authorities.filter(({ state }) => state === 'retired'));
  return retired.difference(rootsOf(authorities.filter(({ state }) => isPublished(state))));
}

/** Keeps one authority of each kind active: one that may sign before a tainted one, then one of the copy before others. */
function oneActiveEach(
  authorities: readonly AuthorityRecord[],
  kept: ReadonlySet<string>,
): readonly AuthorityRecord[] {
  const active = authorities
    .filter(({ state }) => state === 'active')
    .toSorted((a, b) => Number(kept.has(a.id)) - Number(kept.has(b.id)));
  const signs = (kind: AuthorityRecord['kind']) => {
    const ofKind = active.filter((each) => each.kind === kind);
    return ofKind.find(({ tainted }) => !tainted) ?? ofKind[0];
  };
  const winners = new Set(active.flatMap(({ kind }) => signs(kind) ?? []));
  return [...winners].reduce((all, winner) => makeActive(winner, all), authorities);
}

/**
 * What never comes back needs no key; a JWT authority without one is read from its public key. A reference stays, as when it was
 * retired: it says where the next key is to be made.
 */
function withoutKey(record: AuthorityRecord): AuthorityRecord {
  const { privateKey, ...rest } = record;
  return rest.kind === 'X509' || rest.publicKey !== undefined ? rest : record;
}
