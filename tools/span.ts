/** A span of time as people say it, in its two largest units: `364d23h`, `59m12s`. Takes seconds. */
export function span(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const;
  const parts: string[] = [];
  let rest = Math.abs(Math.round(seconds));
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 && parts.length < 2) parts.push(`${count}${name}`);
    else if (parts.length > 0) break;
  }
  return parts.join('') || '0s';
}

/** `in 3d4h`, or `3d4h ago`. */
export function fromNow(seconds: number, now: number): string {
  return seconds >= now ? `in ${span(seconds - now)}` : `${span(now - seconds)} ago`;
}
