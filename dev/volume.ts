import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

const data = '..data';

/**
 * Replaces the files of a folder all at once, in the steps in which kubelet replaces the content of a projected volume
 * (pkg/volume/util/atomic_writer.go): a new folder, the swap of the link `..data`, then the end of the old folder. One
 * call at a time for each folder. Files can be read by their owner only.
 */
export async function writeVolume(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const link = join(folder, data);
  const before = await readlink(link).catch(() => undefined);
  const fresh = await mkdtemp(join(folder, '..dev-'));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(fresh, name), content, { mode: 0o600 });
  }
  const swap = `${link}_tmp`;
  await rm(swap, { force: true });
  await symlink(basename(fresh), swap);
  await rename(swap, link);
  if (before !== undefined) await rm(join(folder, before), { recursive: true, force: true });
  for (const name of Object.keys(files)) {
    await symlink(join(data, name), join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}
