import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '../..');

export interface Import {
  from: string;
  /** File below the root, or the name of a package. */
  to: string;
}

/** The import lines of all files in a folder, also those of types and those that load later. */
export function importsBelow(folder: string): Import[] {
  return sources(folder).flatMap((from) =>
    [...withoutDocstrings(textOf(from)).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
      ([, to = '']) => ({ from, to: placeOf(from, to) }),
    ),
  );
}

/** The examples in docstrings import our package by its name. */
export const withoutDocstrings = (source: string) => source.replaceAll(/^ \* .*$/gm, ' *');

export function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name));
}

export const textOf = (file: string) => readFileSync(join(root, file), 'utf8');

const placeOf = (from: string, to: string) =>
  to.startsWith('.') ? relative(root, join(root, dirname(from), to)) : to;

/** What a file loads with itself: its static imports of values, by name of the package or path below the root. */
export function importsOf(file: string): string[] {
  return [...textOf(file).matchAll(/^(?:import|export)\s(?!type\b)(?:[^;]*?\sfrom\s)?'([^']+)'/gm)].map(
    ([, to = '']) => placeOf(file, to),
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
