import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from '../cluster/binary.ts';
import { run } from './run.ts';

/**
 * Installs what a `requirements.txt` names into a virtual environment in the cache of the user, where that was not done
 * yet.
 *
 * @returns the folder with its programs.
 */
export async function installPython(
  requirements: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const name = basename(dirname(requirements));
  const hash = createHash('sha256').update(await readFile(requirements));
  const target = join(cacheFolder(env), `${name}-${hash.digest('hex').slice(0, 16)}`, 'venv');
  await mkdir(dirname(target), { recursive: true });
  // Under flock(1), so that test files that start together install once; the mark says that it was finished.
  const script =
    'test -e "$1/finished" || { python3 -m venv --clear "$1" && "$1/bin/pip" install -q --no-input ' +
    '--disable-pip-version-check -r "$2" && touch "$1/finished"; }';
  const words = [`${target}.lock`, 'sh', '-c', script, 'install', target, requirements];
  const { code, stderr } = await run('flock', words);
  if (code !== 0) throw new Error(`${name} could not be installed (it needs Python 3 with venv):\n${stderr}`);
  return join(target, 'bin');
}

/**
 * Keeps what a `requirements.txt` names as files beside the virtual environment, where that was not done yet, so that pip
 * can install it once more without a network.
 *
 * @param programs of that environment
 * @returns the folder with the files.
 */
export async function downloadPython(requirements: string, programs: string): Promise<string> {
  const target = join(programs, '../../wheels');
  const script =
    'test -e "$2/finished" || { "$1/pip" download -q --no-input --disable-pip-version-check -d "$2" -r "$3" ' +
    '&& touch "$2/finished"; }';
  const words = [`${target}.lock`, 'sh', '-c', script, 'download', programs, target, requirements];
  const { code, stderr } = await run('flock', words);
  if (code !== 0) throw new Error(`the packages of ${requirements} could not be downloaded:\n${stderr}`);
  return target;
}
