/**
 * The word that was probably meant: equal but for case and separators, or at most two typing mistakes away (one
 * for short words), or `mostMistakes`. Undefined when none is near enough to be worth a guess.
 */
export function nearest(
  word: string,
  words: readonly string[],
  mostMistakes = plain(word).length <= 4 ? 1 : 2,
): string | undefined {
  const wanted = plain(word);
  let best: string | undefined;
  let bestDistance = mostMistakes + 1;
  for (const candidate of words) {
    const distance = typingMistakes(wanted, plain(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

const plain = (word: string): string => word.toLowerCase().replace(/[-_.\s]/g, '');

/** Optimal string alignment: insertions, deletions, replacements, and neighbours that changed places. */
function typingMistakes(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Number.POSITIVE_INFINITY;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const replace = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swap = i > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : replace;
      row.push(Math.min(replace, swap, at(i - 1, j) + 1, at(i, j - 1) + 1));
    }
  }
  return at(a.length, b.length);
}
