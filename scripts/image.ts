// Builds the container image without a container engine (`make image`):
//   node scripts/image.ts [--output FILE] [--reference NAME:TAG]
// or lays its files out in a folder, for the Dockerfile:
//   node scripts/image.ts --rootfs FOLDER
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { collectApplication } from './image/application.ts';
import { packImage } from './image/oci.ts';
import { account, collectRuntime } from './image/runtime.ts';
import { sbomEntry } from './image/sbom.ts';
import type { Entry } from './image/tar.ts';

const root = join(import.meta.dirname, '..');
const { values } = parseArgs({
  options: {
    output: { type: 'string', default: join(root, 'dist/kubespiffe-image.tar') },
    reference: { type: 'string', default: 'kubespiffe.io/kubespiffe:dev' },
    rootfs: { type: 'string' },
  },
});

const say = (line: string) => process.stderr.write(`${line}\n`);
const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };
const architecture = architectures[process.arch];
if (!architecture) throw new Error(`no image can be built on ${process.arch}: only on x64 and arm64`);

// The Node that package-lock.json pins, not the one that happens to run this.
const node = createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
const version = await versionOf(join(root, 'package.json'));

say('image: collecting Node, its libraries, our code and its dependencies');
const runtime = await collectRuntime(node);
const application = await collectApplication(root);
const sbom = sbomEntry({
  version,
  node: { version: await versionOf(join(dirname(node), '../package.json')), binary: await readFile(node) },
  debian: runtime.packages,
  npm: application.packages,
});
const layers = [
  { comment: 'Node and its libraries', entries: runtime.entries },
  { comment: 'kubespiffe', entries: [...application.entries, sbom] },
];
const entries = layers.flatMap((layer) => layer.entries);

if (values.rootfs) {
  await layOut(values.rootfs, entries);
  say(`image: ${entries.length} files in ${values.rootfs}`);
} else {
  say(`image: compressing ${entries.length} files`);
  // USER, ENV, WORKDIR, ENTRYPOINT and CMD of the Dockerfile say the same; a test compares.
  const config = {
    User: `${account.id}:${account.id}`,
    Env: ['PATH=/usr/local/bin'],
    WorkingDir: '/',
    // The limit on short-lived objects is that of bin/kubespiffe, which says why.
    Entrypoint: [
      '/usr/local/bin/node',
      '--max-semi-space-size=8',
      '--heap-growing-percent=100',
      '/app/tools/main.js',
    ],
    Cmd: ['--help'],
    Labels: {
      'org.opencontainers.image.title': 'kubespiffe',
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
    },
  };
  const image = packImage({ reference: values.reference, architecture, layers, config });
  await mkdir(dirname(values.output), { recursive: true });
  await writeFile(values.output, image.archive);
  say(
    `image: ${values.reference}, ${(image.compressedBytes / 1e6).toFixed(1)} MB compressed, ${values.output}`,
  );
  process.stdout.write(`${image.digest}\n`);
}

async function versionOf(packageJson: string): Promise<string> {
  return (JSON.parse(await readFile(packageJson, 'utf8')) as { version: string }).version;
}

async function layOut(folder: string, entries: readonly Entry[]): Promise<void> {
  for (const entry of entries) {
    const path = join(folder, entry.path);
    await mkdir('folder' in entry ? path : dirname(path), { recursive: true });
    if ('content' in entry) await writeFile(path, entry.content);
    await chmod(path, entry.mode);
  }
}
