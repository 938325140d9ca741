import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { Architecture } from './architecture.ts';
import type { DebianPackage } from './debian.ts';
import type { RuntimeParts } from './runtime.ts';

const run = promisify(execFile);

/** Owners of the libraries that Node is linked with. */
const debianPackages = ['libc6', 'libstdc++6', 'libgcc-s1'];

/**
 * Node and its libraries for another architecture than that of this machine, without changing the machine: Node from the
 * npm registry, as package-lock.json pins it, and the libraries from this machine's Debian mirror. apt verifies them by
 * the signatures of Debian.
 *
 * @param libraries names of the libraries that Node needs here, such as `libc.so.6`
 * @param folder where the downloads are kept; a Node that was downloaded before is used
 */
export async function fetchRuntime(
  root: string,
  architecture: Architecture,
  libraries: readonly string[],
  folder: string,
): Promise<RuntimeParts> {
  await mkdir(folder, { recursive: true });
  const node = await fetchNode(root, architecture.npmPackage, folder);
  const archives = await fetchDebian(architecture.name, join(folder, 'debian'));
  const unpacked = join(folder, 'debian/root');
  for (const archive of archives) await run('dpkg-deb', ['--extract', archive, unpacked]);
  const files = await readdir(unpacked, { recursive: true });
  const fileOf = (name: string) => {
    const found = files.find((path) => basename(path) === name);
    if (found === undefined) throw new Error(`no Debian package of ${debianPackages.join(', ')} has ${name}`);
    return join(unpacked, found);
  };
  return {
    node,
    libraries: [
      ...libraries.map((name) => ({ path: `lib/${architecture.triplet}/${name}`, file: fileOf(name) })),
      { path: architecture.loader, file: fileOf(basename(architecture.loader)) },
    ],
    packages: await Promise.all(archives.map(describe)),
  };
}

/** @returns the folder of the package, after its content was compared with package-lock.json. */
async function fetchNode(root: string, name: string, folder: string): Promise<string> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string }>;
  };
  const locked = packages[`node_modules/${name}`];
  if (!locked) throw new Error(`package-lock.json has no ${name}`);
  const archive = join(folder, `${name}-${locked.version}.tgz`);
  const isLocked = async () => {
    const content = await readFile(archive).catch(() => Buffer.alloc(0));
    return `sha512-${hash('sha512', content, 'base64')}` === locked.integrity;
  };
  if (!(await isLocked())) {
    const flags = ['--silent', '--pack-destination', folder];
    await run('npm', ['pack', `${name}@${locked.version}`, ...flags], { cwd: folder });
    if (!(await isLocked())) throw new Error(`${archive} is not the package that package-lock.json has`);
  }
  await rm(join(folder, 'package'), { recursive: true, force: true });
  await run('tar', ['-xzf', archive, '-C', folder, 'package/bin/node', 'package/package.json']);
  return join(folder, 'package');
}

/** The archives of the packages, in a state of apt that is of this folder alone. */
async function fetchDebian(architecture: string, folder: string): Promise<string[]> {
  await rm(folder, { recursive: true, force: true });
  for (const name of ['lists/partial', 'archives/partial', 'packages', 'root'])
    await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, 'status'), '');
  const settings = [
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    `Dir::State=${folder}`,
    `Dir::State::status=${join(folder, 'status')}`,
    `Dir::Cache=${folder}`,
    'APT::Sandbox::User=root',
  ].flatMap((setting) => ['-o', setting]);
  const apt = (...words: string[]) =>
    run('apt-get', [...settings, '--quiet', ...words], { cwd: join(folder, 'packages') });
  await apt('update');
  await apt('download', ...debianPackages);
  const names = await readdir(join(folder, 'packages'));
  return names.toSorted().map((name) => join(folder, 'packages', name));
}

async function describe(archive: string): Promise<DebianPackage> {
  const { stdout } = await run('dpkg-deb', ['--field', archive]);
  const field = (title: string) => new RegExp(`^${title}: (.+)$`, 'm').exec(stdout)?.[1] ?? '';
  return {
    name: field('Package'),
    version: field('Version'),
    architecture: field('Architecture'),
    paragraph: stdout,
  };
}
