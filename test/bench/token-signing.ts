// Bare ES256 signing, which everything that issues ES256 tokens pays at least: a process of its own that does nothing
// else, so that its CPU seconds are those of signatures.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { serveCalls } from './worker.ts';

/** About as long as what is signed for a JWT-SVID. */
const message = randomBytes(400);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function signFor(seconds: number): number {
  const until = performance.now() + seconds * 1000;
  let count = 0;
  while (performance.now() < until) {
    for (let some = 0; some < 100; some += 1) sign('sha256', message, privateKey);
    count += 100;
  }
  return count;
}

const calls = {
  /** @returns signatures per second of this process' CPU time. */
  signatures: ({ seconds }: { seconds: number }): number => {
    signFor(seconds / 10);
    const before = process.cpuUsage();
    const count = signFor(seconds);
    const { user, system } = process.cpuUsage(before);
    return count / ((user + system) / 1e6);
  },
};
export type SigningCalls = typeof calls;

serveCalls(calls);
