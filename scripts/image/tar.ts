import * as tar from 'modern-tar';

/** One entry of a file system, as it will be in the image. Paths have no leading slash. */
export type Entry =
  | { readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly path: string; readonly mode: number; readonly folder: true };

// The archive must not depend on when it was built, and by whom.
const sameForAll = { mtime: new Date(0), uid: 0, gid: 0 };

/**
 * Packs entries as a tar archive (POSIX ustar; pax for longer paths). The same entries give the same bytes: sorted by path, owned by
 * root, of the same time, and folders that nobody named are made.
 */
export async function packTar(entries: readonly Entry[]): Promise<Buffer> {
  const packed = withFolders(entries).map((entry) => {
    const { path, mode } = entry;
    if ('folder' in entry) {
      return { header: { name: `${path}/`, mode, size: 0, type: 'directory' as const, ...sameForAll } };
    }
    return { header: { name: path, mode, size: entry.content.length, ...sameForAll }, body: entry.content };
  });
  return Buffer.from((await tar.packTar(packed)).buffer);
}

function withFolders(entries: readonly Entry[]): Entry[] {
  const all = new Map<string, Entry>();
  for (const entry of entries) {
    const parts = entry.path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const path = parts.slice(0, depth).join('/');
      if (!all.has(path)) all.set(path, { path, mode: 0o755, folder: true });
    }
    all.set(entry.path, entry);
  }
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
