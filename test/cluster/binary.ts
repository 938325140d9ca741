import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { type KubernetesVersion, kubernetesReleases } from './versions.ts';

const run = promisify(execFile);
const moduleFolder = join(import.meta.dirname, 'kubernetes');

export type Component =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kube-proxy'
  | 'kubelet'
  | 'kubectl';

/** Where the parts of one Kubernetes version lie on this machine. */
export interface KubernetesBinaries {
  readonly version: KubernetesVersion;
  /** True when every component is there; false for a KUBEBUILDER_ASSETS folder, which cannot run a node. */
  readonly complete: boolean;
  /** Program and first arguments that run a component, or undefined when it is not there. */
  command(component: Component): readonly string[] | undefined;
}

/** All builds have these, so that they find each other's compiled packages. Debug information takes a sixth of the time. */
export const compilerFlags = ['-trimpath', '-gcflags=all=-dwarf=false'];
export const linkerFlags = '-s -w';
/** The compiler rarely collects garbage: another eighth. The limit is for machines with little memory. */
export const compilerEnvironment = { CGO_ENABLED: '0', GOFLAGS: '', GOGC: 'off', GOMEMLIMIT: '2GiB' };

/**
 * Finds the binaries of a version, or builds them (about 7 minutes on 2 cores with a cold Go cache, seconds
 * with a warm one; the result is kept in the user's cache folder). KUBEBUILDER_ASSETS is used instead when it
 * is set, holds the same minor version, and no node is wanted (`complete`).
 */
export async function findBinaries(
  version: KubernetesVersion,
  options: { complete?: boolean; env?: NodeJS.ProcessEnv; report?: (line: string) => void } = {},
): Promise<KubernetesBinaries> {
  const env = options.env ?? process.env;
  const report = options.report ?? ((line: string) => process.stderr.write(`${line}\n`));
  const assets = env.KUBEBUILDER_ASSETS;
  if (assets && !options.complete && (await hasMinor(assets, version))) return fromAssets(assets, version);
  const binary = await builtBinary(version, env, report);
  return { version, complete: true, command: (component) => [binary, component] };
}

function fromAssets(folder: string, version: KubernetesVersion): KubernetesBinaries {
  const present: readonly string[] = ['etcd', 'kube-apiserver', 'kubectl'];
  return {
    version,
    complete: false,
    command: (component) => (present.includes(component) ? [join(folder, component)] : undefined),
  };
}

async function hasMinor(folder: string, version: KubernetesVersion): Promise<boolean> {
  const { stdout } = await run(join(folder, 'kube-apiserver'), ['--version']);
  return stdout.includes(` v${version.slice(0, version.lastIndexOf('.'))}.`);
}

async function builtBinary(
  version: KubernetesVersion,
  env: NodeJS.ProcessEnv,
  report: (line: string) => void,
): Promise<string> {
  const flags = buildFlags(version);
  const target = join(
    cacheFolder(env),
    `kubernetes-${version}-${await sourceHash(version, flags)}`,
    'kubernetes',
  );
  if (await isExecutable(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  await build(version, flags, target, env, report);
  return target;
}

/** `${XDG_CACHE_HOME:-~/.cache}/kubespiffe`: outside the checkout, so that a clean clone starts fast. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kubespiffe');
}

/**
 * Without gitVersion the server calls itself v0.0.0 and its feature gates go by that; client-go carries a
 * version of its own, which the User-Agent shows.
 */
function buildFlags(version: KubernetesVersion): string[] {
  const [major = '', minor = ''] = version.split('.');
  const stamps = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((holder) => [
    `-X ${holder}.gitVersion=v${version}`,
    `-X ${holder}.gitMajor=${major}`,
    `-X ${holder}.gitMinor=${minor}`,
  ]);
  return [
    ...compilerFlags,
    `-modfile=${kubernetesReleases[version].modFile}`,
    '-ldflags',
    [linkerFlags, ...stamps].join(' '),
  ];
}

async function sourceHash(version: KubernetesVersion, flags: string[]): Promise<string> {
  const { modFile } = kubernetesReleases[version];
  const hash = createHash('sha256').update(flags.join('\0'));
  for (const name of ['main.go', modFile, modFile.replace(/\.mod$/, '.sum')]) {
    hash.update(await readFile(join(moduleFolder, name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/**
 * Builds under flock(1), which the system lets go of when the builder dies, and looks again once the lock is
 * held: a second builder waits and then finds the first one's result. The binary appears by rename, whole.
 */
async function build(
  version: KubernetesVersion,
  flags: string[],
  target: string,
  env: NodeJS.ProcessEnv,
  report: (line: string) => void,
): Promise<void> {
  const script = 'test -x "$TARGET" || { go build -v "$@" -o "$TARGET.$$" . && mv "$TARGET.$$" "$TARGET"; }';
  const started = Date.now();
  let packages = 0;
  let lastLines: string[] = [];
  const title = `building Kubernetes ${version} (about 7 min on 2 cores, once)`;
  const tell = () =>
    report(`${title}: ${elapsed(Date.now() - started)}, ${packages.toLocaleString('en')} packages`);
  tell();
  const timer = setInterval(tell, 5_000);
  try {
    const builder = spawn('flock', [`${target}.lock`, 'sh', '-c', script, 'build', ...flags], {
      cwd: moduleFolder,
      env: { ...env, TARGET: target, ...compilerEnvironment },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    createInterface(builder.stderr).on('line', (line) => {
      if (/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) packages += 1;
      else lastLines = [...lastLines, line].slice(-20);
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      builder.on('error', reject);
      builder.on('close', resolve);
    });
    if (code !== 0) throw new Error(buildFailure(version, lastLines));
  } finally {
    clearInterval(timer);
  }
  report(`built Kubernetes ${version} in ${elapsed(Date.now() - started)}: ${target}`);
}

function buildFailure(version: KubernetesVersion, lines: string[]): string {
  const hint = lines.some((line) => line.includes('go: not found'))
    ? 'install Go 1.21 or newer (https://go.dev/doc/install), or set KUBEBUILDER_ASSETS'
    : 'its last lines are above this one';
  return `${lines.join('\n')}\nKubernetes ${version} could not be built: ${hint}`;
}

function elapsed(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
