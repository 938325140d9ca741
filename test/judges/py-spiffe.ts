import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { cacheFolder } from '../cluster/binary.ts';
import { type Verdict, verdictSchema } from './judges.ts';

const folder = join(import.meta.dirname, 'py-spiffe');

export interface PySpiffe {
  /** The interpreter that it runs in, which has PyJWT and cryptography too. */
  readonly python: string;
  /** `JwtBundle.parse` of a JWK set and, with a token, `JwtSvid.parse_and_validate`. Facts: kids, id, audience. */
  judge(question: { trustDomain: string; jwks: string; token?: string; audience?: string }): Promise<Verdict>;
}

/** Installs py-spiffe into a virtual environment in the user's cache folder where that was not done yet. */
export async function openPySpiffe(env: NodeJS.ProcessEnv = process.env): Promise<PySpiffe> {
  const requirements = join(folder, 'requirements.txt');
  const hash = createHash('sha256').update(await readFile(requirements));
  const target = join(cacheFolder(env), `py-spiffe-${hash.digest('hex').slice(0, 16)}`, 'venv');
  await mkdir(dirname(target), { recursive: true });
  // Under flock(1), so that test files that start together install once; the mark says that it was finished.
  const script =
    'test -e "$1/finished" || { python3 -m venv --clear "$1" && "$1/bin/pip" install -q --no-input ' +
    '--disable-pip-version-check -r "$2" && touch "$1/finished"; }';
  const installed = await run('flock', [
    `${target}.lock`,
    'sh',
    '-c',
    script,
    'install',
    target,
    requirements,
  ]);
  if (installed.code !== 0) {
    throw new Error(`py-spiffe could not be installed (it needs Python 3 with venv):\n${installed.stderr}`);
  }
  const python = join(target, 'bin/python');
  return {
    python,
    async judge(question) {
      const words = ['-I', join(folder, 'judge.py')];
      const { code, stdout, stderr } = await run(python, words, JSON.stringify(question));
      if (code !== 0) throw new Error(`py-spiffe ended with ${code}: ${stderr}`);
      return verdictSchema.parse(JSON.parse(stdout));
    },
  };
}

async function run(
  program: string,
  words: readonly string[],
  input = '',
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  return { code, stdout, stderr };
}
