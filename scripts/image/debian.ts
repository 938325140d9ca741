import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Entry } from './tar.ts';

const run = promisify(execFile);

/** A Debian package of which the image holds a file. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The paragraph of the package in dpkg's database. */
  readonly paragraph: string;
}

/** The packages that own these files, sorted by name; none on a machine that is not Debian. */
export async function debianPackagesOf(paths: readonly string[]): Promise<DebianPackage[]> {
  const names = new Set<string>();
  for (const path of paths) {
    const name = (await ownerOf(path)) ?? (await ownerOf(`/usr${path}`));
    if (name !== undefined) names.add(name);
  }
  return Promise.all([...names].sort().map(describe));
}

/**
 * The database of a distroless image: one file for each package, and the name of the distribution. Scanners of images
 * find known vulnerabilities by it.
 */
export async function databaseEntries(packages: readonly DebianPackage[]): Promise<Entry[]> {
  if (packages.length === 0) return [];
  const text = (path: string, content: string): Entry => ({
    path,
    mode: 0o644,
    content: Buffer.from(content),
  });
  return [
    text('etc/os-release', await readFile('/etc/os-release', 'utf8')),
    ...packages.map(({ name, paragraph }) => text(`var/lib/dpkg/status.d/${name}`, paragraph)),
  ];
}

async function ownerOf(path: string): Promise<string | undefined> {
  const { stdout } = await run('dpkg-query', ['--search', path]).catch(() => ({ stdout: '' }));
  return /^(\S+): /.exec(stdout)?.[1];
}

async function describe(name: string): Promise<DebianPackage> {
  const { stdout } = await run('dpkg-query', ['--status', name]);
  const field = (title: string) => new RegExp(`^${title}: (.+)$`, 'm').exec(stdout)?.[1] ?? '';
  const architecture = field('Architecture');
  return { name: field('Package'), version: field('Version'), architecture, paragraph: stdout };
}
