import { setTimeout as pause } from 'node:timers/promises';

/** The longest a timer may run; a wait of days is made of several. */
const longestMs = 24 * 3_600 * 1_000;

/** Waits so many seconds, and a second more: what is compared are whole seconds. */
export async function waitUntil(seconds: number): Promise<void> {
  await pause(Math.min(Math.max(0, seconds) * 1_000 + 1_000, longestMs));
}
