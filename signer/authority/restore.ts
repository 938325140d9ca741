import type { AuthorityRecord, PoolDocument } from './document.ts';

/**
 * How far the sequence of a copy is raised where nobody knows what was published after it was made: far above the
 * changes that a pool sees in years.
 */
export const blindRaise = 1_000;

/**
 * The pool that takes the place of the live one when a copy of old is restored. Those who poll the bundle take what
 * has the greater sequence (SPIFFE Trust Domain and Bundle 4.1.1), so it is raised above everything that may have been
 * published; and what was tainted since the copy was made stays so, as a tainted authority never signs again. Pure.
 *
 * @param copy what is restored. live: what is there now, if anything. publishedSequence: the highest sequence that
 *   anybody has seen, where the operator knows it.
 */
export function restoredPool(
  copy: PoolDocument,
  known: { readonly live?: PoolDocument; readonly publishedSequence?: number },
): { readonly pool: PoolDocument; readonly stillTainted: readonly string[] } {
  const { live, publishedSequence } = known;
  const isBlind = live === undefined && publishedSequence === undefined;
  const highest = Math.max(copy.sequence, live?.sequence ?? 0, publishedSequence ?? 0);
  const tainted = new Set(live?.authorities.filter((each) => each.tainted).map(materialOf));
  const stillTainted: string[] = [];
  const authorities = copy.authorities.map((each) => {
    if (each.tainted || !tainted.has(materialOf(each))) return each;
    stillTainted.push(each.id);
    return { ...each, tainted: true };
  });
  const sequence = highest + (isBlind ? blindRaise : 1);
  return { pool: { ...copy, sequence, authorities }, stillTainted };
}

/** What an authority is, whatever its name in a pool: its certificate, or its key. */
function materialOf({ certificate, publicKey, privateKey = '' }: AuthorityRecord): string {
  return (certificate ?? publicKey ?? privateKey).replace(/\s+/g, '');
}
