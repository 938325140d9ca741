import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheFolder, compilerEnvironment, compilerFlags, linkerFlags } from './binary.ts';

const flags = [...compilerFlags, '-ldflags', linkerFlags];

export interface GoProgram {
  readonly name: string;
  /** Folder of its Go module. */
  readonly folder: string;
  /** What is built, for the lines that show progress, such as "CoreDNS". */
  readonly title: string;
}

/**
 * The binary of a Go module of ours: built once for each state of its sources and kept in the user's cache folder.
 * Reports every 5 s while it builds.
 */
export async function goBinary(
  program: GoProgram,
  env: NodeJS.ProcessEnv = process.env,
  report: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<string> {
  const { name, folder, title } = program;
  const target = join(cacheFolder(env), `${name}-${await sourceHash(folder)}`, name);
  if (await isExecutable(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const progress = () => report(`building ${title}: ${seconds()} s`);
  progress();
  const timer = setInterval(progress, 5_000);
  try {
    await build(program, target, env);
  } finally {
    clearInterval(timer);
  }
  report(`built ${title} in ${seconds()} s: ${target}`);
  return target;
}

async function sourceHash(folder: string): Promise<string> {
  const hash = createHash('sha256').update(flags.join('\0'));
  const names = (await readdir(folder)).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name));
  for (const name of names.toSorted()) hash.update(name).update(await readFile(join(folder, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Under flock(1), so that test files that start together build once; the binary appears whole, by rename. */
async function build({ folder, title }: GoProgram, target: string, env: NodeJS.ProcessEnv): Promise<void> {
  const script = 'test -x "$TARGET" || { go build "$@" -o "$TARGET.$$" . && mv "$TARGET.$$" "$TARGET"; }';
  const builder = spawn('flock', [`${target}.lock`, 'sh', '-c', script, 'build', ...flags], {
    cwd: folder,
    env: { ...env, TARGET: target, ...compilerEnvironment },
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
  throw new Error(`${title} could not be built:\n${lines.slice(-20).join('\n')}${hint}`);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
