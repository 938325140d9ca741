/** One entry of a file system, as it will be in the image. Paths have no leading slash. */
export type Entry =
  | { readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly path: string; readonly mode: number; readonly folder: true };

const blockBytes = 512;

/**
 * Packs entries as a tar archive (POSIX ustar). The same entries give the same bytes: sorted by path, owned by
 * root, of the same time, and folders that nobody named are made.
 */
export function packTar(entries: readonly Entry[]): Buffer {
  const blocks: Uint8Array[] = [];
  for (const entry of withFolders(entries)) {
    const content = 'content' in entry ? entry.content : new Uint8Array();
    blocks.push(header(entry, content.length), content);
    const rest = content.length % blockBytes;
    if (rest > 0) blocks.push(new Uint8Array(blockBytes - rest));
  }
  blocks.push(new Uint8Array(2 * blockBytes));
  return Buffer.concat(blocks);
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

function header(entry: Entry, size: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const isFolder = 'folder' in entry;
  const [prefix, name] = splitPath(isFolder ? `${entry.path}/` : entry.path);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0);
  block.write(octal(entry.mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  block.write(' '.repeat(8), 148);
  block.write(isFolder ? '5' : '0', 156);
  block.write('ustar\x0000', 257);
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** ustar has 100 bytes for a name and 155 for the folders before it. */
function splitPath(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path];
  for (let cut = path.indexOf('/'); cut > 0; cut = path.indexOf('/', cut + 1)) {
    const [prefix, name] = [path.slice(0, cut), path.slice(cut + 1)];
    if (Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100) return [prefix, name];
  }
  throw new Error(`path too long for a tar archive: ${path}`);
}
