import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { chrootAs } from '../cluster/chroot.ts';

const run = promisify(execFile);
const checkout = join(import.meta.dirname, '../..');

/** The files of dist/kubespiffe-image.tar in a folder, where its programs run as they do in a container. */
export interface ImageRoot {
  /** Puts a file or folder of this machine there, at the same path unless told otherwise, for everybody to read. */
  add(path: string, to?: string): Promise<void>;
  /** What runs `kubespiffe` there, as the account of the image and by its entry point, with these variables alone. */
  launcher(env: Readonly<Record<string, string>>): readonly string[];
}

interface Manifest {
  readonly layers: readonly { readonly digest: string }[];
  readonly config: { readonly digest: string };
}

/** Unpacks the image into an empty folder. */
export async function unpackImage(folder: string): Promise<ImageRoot> {
  const [layout, rootfs] = [join(folder, 'layout'), join(folder, 'rootfs')];
  await mkdir(layout);
  await mkdir(rootfs);
  await run('tar', ['-x', '-f', join(checkout, 'dist/kubespiffe-image.tar'), '-C', layout]);
  const readJson = async (path: string) => JSON.parse(await readFile(join(layout, path), 'utf8'));
  const blob = (digest: string) => join('blobs', digest.replace(':', '/'));
  const [{ digest }] = (await readJson('index.json')).manifests;
  const manifest = (await readJson(blob(digest))) as Manifest;
  for (const layer of manifest.layers) {
    await run('tar', ['-xzp', '-f', join(layout, blob(layer.digest)), '-C', rootfs]);
  }
  // A runtime of containers makes it. Node opens it for each child without standard input.
  await mkdir(join(rootfs, 'dev'), { recursive: true });
  await run('mknod', ['-m', '666', join(rootfs, 'dev/null'), 'c', '1', '3']);
  const { config } = await readJson(blob(manifest.config.digest));
  const { Entrypoint: entrypoint, User: user } = config as { Entrypoint: string[]; User: string };
  return {
    async add(path, to = path) {
      const target = join(rootfs, to);
      await mkdir(dirname(target), { recursive: true });
      await run('cp', ['-rLT', path, target]);
      await run('chown', ['-R', user, target]);
    },
    launcher: (env) => [...chrootAs(user, rootfs, env), ...entrypoint],
  };
}
