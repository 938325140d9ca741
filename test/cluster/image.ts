import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runCommand } from './command.ts';
import { pauseImage } from './node-config.ts';

/** Image of the test pods: a static busybox with links for the commands that tests use. */
export const toolsImage = 'kubespiffe.test/tools:1';
/** The image that manifests/examples name, as kubelet reads the name: here it is that of the test pods. */
const exampleImage = 'docker.io/library/busybox:1.37';

const commands = [
  'sh',
  'cat',
  'ls',
  'sleep',
  'stat',
  'readlink',
  'find',
  'date',
  'id',
  'wget',
  'nc',
  'env',
  'md5sum',
];

/** The image with curl that manifests/examples name: here it is the machine's own curl beside the same commands. */
const exampleCurlImage = 'docker.io/curlimages/curl:8.11.1';

/** Makes the archives of the images that every node has, and returns their paths. No registry is asked. */
export async function makeNodeImages(folder: string): Promise<string[]> {
  const root = await makeToolsRoot(folder);
  // containerd ends a sandbox with SIGKILL, so the process that holds it open needs no signal handling.
  const entrypoint = ['/bin/busybox', 'sleep', '2147483647'];
  const archives = [
    await makeImage({ names: [pauseImage], root, entrypoint, folder: join(folder, 'pause') }),
    await makeImage({ names: [toolsImage, exampleImage], root, entrypoint, folder: join(folder, 'tools') }),
  ];
  await addProgram(root, 'curl', '/usr/bin/curl');
  archives.push(
    await makeImage({ names: [exampleCurlImage], root, entrypoint, folder: join(folder, 'curl') }),
  );
  await rm(root, { recursive: true });
  return archives;
}

/** Makes the archive of an image with one program of this machine, and the modules that it loads by their paths. */
export async function makeProgramImage(
  name: string,
  program: { readonly name: string; readonly file: string; readonly modules?: readonly string[] },
  folder: string,
): Promise<string> {
  const root = join(folder, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await addProgram(root, program.name, program.file);
  for (const module of program.modules ?? []) await addBinary(root, module);
  const entrypoint = [`/bin/${program.name}`];
  const archive = await makeImage({ names: [name], root, entrypoint, folder: join(folder, program.name) });
  await rm(root, { recursive: true });
  return archive;
}

async function addProgram(root: string, name: string, path: string): Promise<void> {
  const program = await realpath(path);
  await addBinary(root, program);
  await symlink(program, join(root, 'bin', name));
}

/** A program or module of this machine at its path, with its libraries. */
async function addBinary(root: string, path: string): Promise<void> {
  const libraries = [...(await runCommand('ldd', path)).matchAll(/(\/\S+) \(0x/g)];
  for (const file of [path, ...libraries.flatMap(([, library]) => library ?? [])]) {
    await mkdir(join(root, dirname(file)), { recursive: true });
    await copyFile(file, join(root, file));
  }
}

async function makeToolsRoot(folder: string): Promise<string> {
  const root = join(folder, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await mkdir(join(root, 'tmp'));
  await copyFile('/bin/busybox', join(root, 'bin/busybox'));
  for (const name of commands) await symlink('busybox', join(root, 'bin', name));
  return root;
}

/** An OCI image layout (one layer, uncompressed) as a tar archive. Returns the archive's path. */
async function makeImage(image: {
  names: readonly string[];
  root: string;
  entrypoint: string[];
  folder: string;
}): Promise<string> {
  const blobs = join(image.folder, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const addBlob = async (content: Uint8Array | string) => {
    const digest = createHash('sha256').update(content).digest('hex');
    await writeFile(join(blobs, digest), content);
    return { digest: `sha256:${digest}`, size: Buffer.byteLength(content) };
  };
  const layerFile = `${image.folder}-layer.tar`;
  await runCommand(
    'tar',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
    '-C',
    image.root,
    '-cf',
    layerFile,
    '.',
  );
  const layer = await addBlob(await readFile(layerFile));
  await rm(layerFile);
  const config = await addBlob(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Entrypoint: image.entrypoint, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );
  const manifest = await addBlob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }],
    }),
  );
  const index = {
    schemaVersion: 2,
    manifests: image.names.map((name) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      ...manifest,
      annotations: { 'io.containerd.image.name': name },
    })),
  };
  await writeFile(join(image.folder, 'index.json'), JSON.stringify(index));
  await writeFile(join(image.folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await runCommand('tar', '-C', image.folder, '-cf', `${image.folder}.tar`, '.');
  return `${image.folder}.tar`;
}
