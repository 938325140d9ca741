// Builds the container image without a container engine (`make image`, `make images` for all architectures):
//   node scripts/image.ts [--architecture amd64 --architecture arm64] [--output FILE] [--reference NAME:TAG] [--source URL]
// or lays the files of one architecture out in a folder, for the Dockerfile:
//   node scripts/image.ts --rootfs FOLDER
// Beside the image it writes how it came about, as FILE with the ending .provenance.json.
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { collectApplication } from './image/application.ts';
import { type Architecture, architectures } from './image/architecture.ts';
import { fetchRuntime } from './image/foreign.ts';
import { packImage } from './image/oci.ts';
import { provenance } from './image/provenance.ts';
import { account, nativeRuntime, type RuntimeParts, runtimeEntries } from './image/runtime.ts';
import { sbomEntry } from './image/sbom.ts';
import type { Entry } from './image/tar.ts';

const root = join(import.meta.dirname, '..');
const { values } = parseArgs({
  options: {
    architecture: { type: 'string', multiple: true },
    output: { type: 'string', default: join(root, 'dist/kubespiffe-image.tar') },
    reference: { type: 'string', default: 'kubespiffe.io/kubespiffe:dev' },
    source: { type: 'string' },
    rootfs: { type: 'string' },
  },
});

const say = (line: string) => process.stderr.write(`${line}\n`);
const here = architectures[process.arch];
if (!here) throw new Error(`no image can be built on ${process.arch}: only on x64 and arm64`);
const wanted = (values.architecture ?? [here.name]).map((name) => {
  const found = Object.values(architectures).find((each) => each.name === name);
  if (!found) throw new Error(`--architecture ${name} is not known: use amd64 or arm64`);
  return found;
});
const version = await versionOf(join(root, 'package.json'));

say('image: collecting our code and its dependencies');
const application = await collectApplication(root);
const native = application.entries.find(({ path }) => path.endsWith('.node'));
if (native && wanted.some((each) => each !== here))
  throw new Error(
    `${native.path} is machine code of ${here.name}: build each architecture on a machine of its own`,
  );

const platforms = [];
for (const architecture of wanted) {
  say(`image: collecting Node and its libraries for ${architecture.name}`);
  const parts = await runtimeOf(architecture);
  const sbom = sbomEntry({
    version,
    node: {
      version: await versionOf(join(parts.node, 'package.json')),
      binary: await readFile(join(parts.node, 'bin/node')),
    },
    debian: parts.packages,
    npm: application.packages,
  });
  const layers = [
    { comment: 'Node and its libraries', entries: await runtimeEntries(parts) },
    { comment: 'kubespiffe', entries: [...application.entries, sbom] },
  ];
  platforms.push({ architecture: architecture.name, layers, packages: parts.packages });
}

if (values.rootfs) {
  const [platform, ...others] = platforms;
  if (!platform || others.length > 0) throw new Error('--rootfs takes one --architecture');
  const entries = platform.layers.flatMap((layer) => layer.entries);
  await layOut(values.rootfs, entries);
  say(`image: ${entries.length} files in ${values.rootfs}`);
} else {
  say('image: compressing');
  const { reference, output, source } = values;
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
  };
  const annotations = {
    'org.opencontainers.image.title': 'kubespiffe',
    'org.opencontainers.image.description':
      'SPIFFE identities for Kubernetes pods: signer, Workload API and tools',
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'Apache-2.0',
    ...(source !== undefined && { 'org.opencontainers.image.source': source }),
  };
  const image = await packImage({ reference, platforms, config, annotations });
  await mkdir(dirname(output), { recursive: true });
  await writeFile(output, image.archive);
  const statement = await provenance(root, {
    ...{ reference, digest: image.digest, source },
    architectures: wanted.map(({ name }) => name),
    debian: platforms.flatMap(({ packages }) => packages),
  });
  await writeFile(
    `${output.replace(/\.tar$/, '')}.provenance.json`,
    `${JSON.stringify(statement, undefined, 2)}\n`,
  );
  say(`image: ${reference}, ${(image.compressedBytes / 1e6).toFixed(1)} MB compressed, ${output}`);
  process.stdout.write(`${image.digest}\n`);
}

/** Node is that of package-lock.json, not the one that happens to run this. */
async function runtimeOf(architecture: Architecture): Promise<RuntimeParts> {
  const node = createRequire(import.meta.url).resolve(`node-linux-${process.arch}/package.json`);
  const ofThisMachine = await nativeRuntime(dirname(node));
  if (architecture === here) return ofThisMachine;
  const libraries = ofThisMachine.libraries
    .map(({ path }) => basename(path))
    .filter((name) => name !== basename(here?.loader ?? ''));
  return fetchRuntime(root, architecture, libraries, join(root, '.cache/image', architecture.name));
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
