import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const launcher = fileURLToPath(new URL('../../bin/kubespiffe', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home with nothing in it, so that no kubeconfig of whoever runs the tests is found; what commands leave there goes. */
const home = mkdtempSync(join(tmpdir(), 'kubespiffe-home-'));
process.once('exit', () => rmSync(home, { recursive: true, force: true }));

/** Where the launcher keeps what Node has compiled, as outside of the tests. */
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');

/** Any PEM private key, whole or in the form that JSON gives it. */
const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/**
 * Runs the real command as a process of its own. That no private key comes out is checked each time, unless the
 * command was asked for it by name.
 */
export async function run(
  args: readonly string[],
  options: { input?: string | Buffer; env?: Record<string, string>; file?: string; cwd?: string } = {},
): Promise<Ran> {
  const child = spawn(options.file ?? launcher, args, {
    env: { PATH: process.env.PATH ?? '', HOME: home, XDG_CACHE_HOME: cache, ...options.env },
    cwd: options.cwd,
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  if (!args.includes('--show-private-key')) {
    assert.doesNotMatch(stdout + stderr, privateKey, `a private key in the output of ${args.join(' ')}`);
    assert.doesNotMatch(decoded(stdout), privateKey, `a private key in the output of ${args.join(' ')}`);
  }
  return { code, stdout, stderr };
}

/** What the base64 words of a text say. */
function decoded(output: string): string {
  const words = output.match(/[A-Za-z0-9+/]{40,}={0,2}/g) ?? [];
  return words.map((word) => Buffer.from(word, 'base64').toString('latin1')).join('\n');
}
