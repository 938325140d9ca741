const started = Date.now();

/** One line of what is being done, with the seconds since the start. */
export function step(line: string): void {
  console.log(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}`);
}

/** What came out of a step. */
export function show(text: string): void {
  console.log(text.replaceAll(/^(?=.)/gm, '        '));
}

/** A thing with its facts, the values under each other. A fact without a name goes on with the one before it. */
export function card(title: string, facts: readonly (readonly [name: string, value: string])[]): string {
  return [title, ...facts.map(([name, value]) => `  ${name.padEnd(9)}  ${value}`), ''].join('\n');
}

/** A moment as the clock on the wall has it: `2026-11-25 15:04:37 UTC`. Takes seconds since the epoch. */
export function localTime(seconds: number): string {
  // Sweden writes dates as ISO 8601 does.
  return new Date(seconds * 1000).toLocaleString('sv-SE', { timeZoneName: 'short' });
}

/** Says every 5 s that it is still waiting. */
export async function withHeartbeat<T>(sentence: string, work: () => Promise<T>): Promise<T> {
  const since = Date.now();
  const timer = setInterval(() => step(`${sentence}: ${Math.round((Date.now() - since) / 1000)} s`), 5_000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
