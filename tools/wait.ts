import { setTimeout as pause } from 'node:timers/promises';
import type { Terminal } from './terminal.ts';

/** The longest a timer may run; a wait of days is made of several. */
const longestMs = 24 * 3_600 * 1_000;

/** Waits so many seconds, and a second more: what is compared are whole seconds. */
export async function waitUntil(seconds: number): Promise<void> {
  await pause(Math.min(Math.max(0, seconds) * 1_000 + 1_000, longestMs));
}

/** Waits a little for what passes by itself, and prints it after `title` when it is new. */
export function waiterFor(
  terminal: Pick<Terminal, 'err'>,
  wait = waitUntil,
  title = 'waiting',
): (what: string) => Promise<void> {
  let said = '';
  return async (what) => {
    if (what !== said) terminal.err(`${title}: ${what}\n`);
    said = what;
    await wait(1);
  };
}
