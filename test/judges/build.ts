import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheFolder } from '../cluster/binary.ts';

const moduleFolder = import.meta.dirname;
/** As the build of Kubernetes in test/cluster has them, so that both find each other's compiled packages. */
const flags = ['-trimpath', '-ldflags', '-s -w'];

/**
 * The `judges` binary: built once per state of its sources and kept in the user's cache folder. It takes half a
 * minute on 2 cores after Kubernetes has been built there, a few minutes before that. Says so every 5 s.
 */
export async function judgesBinary(
  env: NodeJS.ProcessEnv = process.env,
  report: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<string> {
  const target = join(cacheFolder(env), `judges-${await sourceHash()}`, 'judges');
  if (await isExecutable(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  const started = Date.now();
  const tell = () => report(`building the judges from go-spiffe and Kubernetes: ${seconds(started)} s`);
  tell();
  const timer = setInterval(tell, 5_000);
  try {
    await build(target, env);
  } finally {
    clearInterval(timer);
  }
  report(`built the judges in ${seconds(started)} s: ${target}`);
  return target;
}

function seconds(since: number): number {
  return Math.round((Date.now() - since) / 1000);
}

async function sourceHash(): Promise<string> {
  const hash = createHash('sha256').update(flags.join('\0'));
  const names = (await readdir(moduleFolder)).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name));
  for (const name of names.toSorted()) hash.update(name).update(await readFile(join(moduleFolder, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Under flock(1), so that test files that start together build once; the binary appears whole, by rename. */
async function build(target: string, env: NodeJS.ProcessEnv): Promise<void> {
  const script = 'test -x "$TARGET" || { go build "$@" -o "$TARGET.$$" . && mv "$TARGET.$$" "$TARGET"; }';
  const builder = spawn('flock', [`${target}.lock`, 'sh', '-c', script, 'build', ...flags], {
    cwd: moduleFolder,
    env: { ...env, TARGET: target, CGO_ENABLED: '0', GOFLAGS: '' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: string[] = [];
  createInterface(builder.stderr).on('line', (line) => lines.push(line));
  const code = await new Promise<number | null>((resolve, reject) => {
    builder.on('error', reject);
    builder.on('close', resolve);
  });
  if (code === 0) return;
  const hint = lines.some((line) => line.includes('go: not found')) ? '\ninstall Go 1.21 or newer' : '';
  throw new Error(`the judges could not be built:\n${lines.slice(-20).join('\n')}${hint}`);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
