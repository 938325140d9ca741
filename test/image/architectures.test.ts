import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { packImage } from '../../scripts/image/oci.ts';

const run = promisify(execFile);
const checkout = join(import.meta.dirname, '../..');

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-architectures-'));
});
after(() => rm(folder, { recursive: true }));

/** The architecture that one image is built for here and that this machine is not. */
const foreign = process.arch === 'x64' ? 'arm64' : 'amd64';
/** What ELF calls it (e_machine), and the emulator that runs it. */
const { machine, emulator } = {
  arm64: { machine: 183, emulator: 'qemu-aarch64' },
  amd64: { machine: 62, emulator: 'qemu-x86_64' },
}[foreign];

test(`the image of ${foreign} is built on this machine, has programs of that architecture alone, and runs`, async () => {
  const rootfs = join(folder, 'rootfs');
  const script = join(checkout, 'scripts/image.ts');
  await run(process.execPath, [script, '--architecture', foreign, '--rootfs', rootfs]);

  let programs = 0;
  for (const entry of await readdir(rootfs, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const content = await readFile(join(entry.parentPath, entry.name));
    if (!content.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) continue;
    assert.equal(content.readUInt16LE(18), machine, entry.name);
    programs += 1;
  }
  assert.ok(programs >= 8, `${programs}`);

  const node = join(rootfs, 'usr/local/bin/node');
  const { stdout } = await run(emulator, ['-L', rootfs, node, '-p', 'process.arch + process.version']);
  assert.equal(stdout, `${foreign === 'amd64' ? 'x64' : foreign}${process.version}\n`);

  const sbom = JSON.parse(await readFile(join(rootfs, 'app/sbom.cdx.json'), 'utf8'));
  const debian = sbom.components.filter(({ purl }: { purl: string }) => purl.startsWith('pkg:deb/'));
  assert.deepEqual(
    debian.map(({ name, purl }: { name: string; purl: string }) => [name, purl.split('?')[1]]),
    ['libc6', 'libgcc-s1', 'libstdc++6'].map((name) => [name, `arch=${foreign}`]),
  );
  const database = await readdir(join(rootfs, 'var/lib/dpkg/status.d'));
  assert.deepEqual(database.toSorted(), ['libc6', 'libgcc-s1', 'libstdc++6']);
});

interface Descriptor {
  mediaType: string;
  digest: string;
  platform?: { architecture: string; os: string };
  annotations?: Record<string, string>;
}

test('an image of several architectures is one index, which leads to a manifest for each', async () => {
  const annotations = { 'org.opencontainers.image.title': 'tiny' };
  const layersOf = (text: string) => [
    { comment: 'file', entries: [{ path: 'name', mode: 0o644, content: Buffer.from(text) }] },
  ];
  const { archive, digest } = await packImage({
    reference: 'example.com/tiny:1',
    platforms: ['amd64', 'arm64'].map((architecture) => ({ architecture, layers: layersOf(architecture) })),
    config: { Cmd: ['/name'] },
    annotations,
  });
  const tar = run('tar', ['-x', '-C', folder]);
  tar.child.stdin?.end(archive);
  await tar;
  const read = async (path: string) => JSON.parse(await readFile(join(folder, path), 'utf8'));
  const blob = (of: Descriptor) => read(`blobs/${of.digest.replace(':', '/')}`);

  const [named, ...others]: Descriptor[] = (await read('index.json')).manifests;
  assert.ok(named);
  assert.deepEqual(others, []);
  assert.equal(named.digest, digest);
  assert.equal(named.mediaType, 'application/vnd.oci.image.index.v1+json');
  assert.equal(named.annotations?.['io.containerd.image.name'], 'example.com/tiny:1');
  const index = await blob(named);
  assert.deepEqual(index.annotations, annotations);
  for (const architecture of ['amd64', 'arm64']) {
    const described = index.manifests.find(
      (each: Descriptor) => each.platform?.architecture === architecture,
    );
    const manifest = await blob(described);
    assert.deepEqual(manifest.annotations, annotations);
    const configuration = await blob(manifest.config);
    assert.equal(configuration.architecture, architecture);
    assert.deepEqual(configuration.config, { Cmd: ['/name'], Labels: annotations });
  }
});
