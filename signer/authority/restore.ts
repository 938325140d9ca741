import { decodePem } from '../pki/pem.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { freshSequence } from './sequence.ts';
import { isPublished } from './states.ts';

export interface RestoredPool {
  readonly pool: PoolDocument;
  /** The authorities of the copy that were tainted since it was made, by id. */
  readonly stillTainted: readonly string[];
  /** What the pool has of the live one and not of the copy: authorities that are only there, or only there published. */
  readonly kept: readonly AuthorityRecord[];
  /** The authorities that were left out on demand, by id. */
  readonly dropped: readonly string[];
}

/**
 * The pool that takes the place of the live one when a copy of old is restored. Pure.
 *
 * Those who poll the bundle take what has the greater sequence (SPIFFE Trust Domain and Bundle 4.1.1), so it is raised
 * above everything that may have been published. What was tainted since the copy was made stays so, as a tainted
 * authority never signs again. Nothing that only the live pool has is lost, neither a key nor a place in the bundles:
 * there may be certificates and tokens that only that verifies. Who signs, the copy says; the live pool does where the
 * copy names nobody who still may.
 *
 * @param copy what is restored. live: what is there now, if anything. publishedSequence: the highest sequence that
 *   anybody has seen, where the operator knows it. dropped: ids of authorities that only the live pool has, and that
 *   are to go. now: seconds since the epoch.
 */
export function restoredPool(
  copy: PoolDocument,
  known: {
    readonly live?: PoolDocument;
    readonly publishedSequence?: number;
    readonly dropped?: readonly string[];
    readonly now: number;
  },
): RestoredPool {
  const { live, publishedSequence = 0, dropped = [], now } = known;
  const sequence = freshSequence(now, copy.sequence, live?.sequence ?? 0, publishedSequence);

  const there = Map.groupBy(live?.authorities ?? [], materialOf);
  const stillTainted: string[] = [];
  const kept = new Set<string>();
  const ofCopy = copy.authorities.map((each) => {
    const same = there.get(materialOf(each)) ?? [];
    const isTainted = same.some(({ tainted }) => tainted);
    if (isTainted && !each.tainted) stillTainted.push(each.id);
    const published = isPublished(each.state) ? undefined : same.find(({ state }) => isPublished(state));
    if (published) kept.add(each.id);
    return { ...(published ?? each), id: each.id, tainted: each.tainted || isTainted };
  });

  const inCopy = new Set(copy.authorities.map(materialOf));
  const isOnlyThere = (each: AuthorityRecord) => !inCopy.has(materialOf(each));
  const onlyThere = (live?.authorities ?? []).filter(isOnlyThere);
  const ids = new Set(copy.authorities.map(({ id }) => id));
  const added = onlyThere
    .filter(({ id }) => !dropped.includes(id))
    .map((each) => {
      const id = freeId(each.id, ids);
      ids.add(id);
      kept.add(id);
      return { ...each, id };
    });

  const authorities = oneActiveEach([...ofCopy, ...added], kept);
  return {
    pool: { ...copy, sequence, authorities },
    stillTainted,
    kept: authorities.filter(({ id }) => kept.has(id)),
    dropped: onlyThere.map(({ id }) => id).filter((id) => dropped.includes(id)),
  };
}

/** Of each kind one stays active: one that may sign rather than a tainted one, and of those the copy's. */
function oneActiveEach(
  authorities: readonly AuthorityRecord[],
  kept: ReadonlySet<string>,
): AuthorityRecord[] {
  const active = authorities
    .filter(({ state }) => state === 'active')
    .toSorted((a, b) => Number(kept.has(a.id)) - Number(kept.has(b.id)));
  const signs = (kind: AuthorityRecord['kind']) => {
    const ofKind = active.filter((each) => each.kind === kind);
    return ofKind.find(({ tainted }) => !tainted) ?? ofKind[0];
  };
  return authorities.map((each) =>
    each.state === 'active' && signs(each.kind) !== each ? { ...each, state: 'retiring' } : each,
  );
}

/** The id itself, or with a number where it is taken. */
function freeId(id: string, taken: ReadonlySet<string>): string {
  if (!taken.has(id)) return id;
  let number = 2;
  while (taken.has(`${id.slice(0, 59)}-${number}`)) number += 1;
  return `${id.slice(0, 59)}-${number}`;
}

/** What an authority is, whatever its name in a pool and the form of its PEM: its certificate, or its key. */
function materialOf({ certificate, publicKey, privateKey = '' }: AuthorityRecord): string {
  const pem = certificate ?? publicKey ?? privateKey;
  const blocks = decodePem(pem);
  const [block] = blocks.ok ? blocks.value : [];
  return block ? Buffer.from(block.der).toString('base64') : pem;
}
