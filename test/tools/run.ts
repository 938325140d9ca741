import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
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

/** A home with nothing in it, so that no kubeconfig of the person who runs the tests is found. It is removed at the end. */
const home = mkdtempSync(join(tmpdir(), 'kubespiffe-home-'));
process.once('exit', () => rmSync(home, { recursive: true, force: true }));

/** Where the launcher keeps what Node has compiled, as outside of the tests. */
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');

/** Any PEM private key, whole or in the form that JSON gives it. */
const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

interface Options {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  /** A program in place of bin/kubespiffe. */
  readonly file?: string;
  readonly cwd?: string;
}

/**
 * Runs a command. A process that starts takes half a second of CPU, and the tests have many commands: so a command of ours
 * that answers and ends runs in this process, behind all that tools/main.ts does. That no private key comes out is checked
 * each time, unless the command was asked for it by name.
 */
export async function run(args: readonly string[], options: Options = {}): Promise<Ran> {
  const { file, cwd } = options;
  const isHere = file === undefined && cwd === undefined && !ownProcess.has(args[0] ?? '');
  const ran = await (isHere ? runHere(args, options) : runProcess(args, options));
  if (!args.includes('--show-private-key')) {
    assert.doesNotMatch(
      ran.stdout + ran.stderr,
      privateKey,
      `a private key in the output of ${args.join(' ')}`,
    );
    assert.doesNotMatch(decoded(ran.stdout), privateKey, `a private key in the output of ${args.join(' ')}`);
  }
  return ran;
}

/** The verbs that tools/main.ts starts in another way, and those that end at a signal. */
const ownProcess = new Set(['signer', '__complete', 'workload-api', 'helper', 'dev', 'ui']);

const usualEnv = { PATH: process.env.PATH ?? '', HOME: home, XDG_CACHE_HOME: cache };

async function runHere(args: readonly string[], { input = '', env }: Options): Promise<Ran> {
  const { runCli } = await import('../../tools/cli.ts');
  let stdout = '';
  let stderr = '';
  const code = await runCli(args, {
    out: (text) => {
      stdout += text;
    },
    err: (text) => {
      stderr += text;
    },
    hasColor: false,
    read: async (file) => (file === '-' ? Buffer.from(input) : readFile(file)),
    env: { ...usualEnv, ...env },
    now: Date.now,
  });
  return { code, stdout, stderr };
}

async function runProcess(args: readonly string[], { input = '', env, file, cwd }: Options): Promise<Ran> {
  const child = spawn(file ?? launcher, args, { env: { ...usualEnv, ...env }, cwd });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { code, stdout, stderr };
}

/** What the base64 words of a text say. */
function decoded(output: string): string {
  const words = output.match(/[A-Za-z0-9+/]{40,}={0,2}/g) ?? [];
  return words.map((word) => Buffer.from(word, 'base64').toString('latin1')).join('\n');
}
