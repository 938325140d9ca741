import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** What a file loads with itself: its static imports of values, by name of the package or path below the root. */
export function importsOf(file: string): string[] {
  const source = readFileSync(join(root, file), 'utf8');
  return [...source.matchAll(/^(?:import|export)\s(?!type\b)(?:[^;]*?\sfrom\s)?'([^']+)'/gm)].map(
    ([, to = '']) => (to.startsWith('.') ? relative(root, join(root, dirname(file), to)) : to),
  );
}

/** What is loaded with an entry, itself included. Packages are not followed. */
export function loadedBy(entry: string): Set<string> {
  const loaded = new Set<string>();
  const open = [entry];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (loaded.has(file)) continue;
    loaded.add(file);
    if (file.endsWith('.ts')) open.push(...importsOf(file));
  }
  return loaded;
}
