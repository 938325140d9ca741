import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const checkout = join(import.meta.dirname, '../..');

export interface Page {
  /** Relative to the checkout. */
  path: string;
  text: string;
  headings: Heading[];
}

export interface Heading {
  level: number;
  title: string;
}

/** README and everything below docs. */
export async function readPages(): Promise<Page[]> {
  const below = await readdir(join(checkout, 'docs'), { recursive: true });
  const paths = ['README.md', ...below.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`)];
  return Promise.all(paths.map(readPage));
}

export async function readPage(path: string): Promise<Page> {
  const text = await readFile(join(checkout, path), 'utf8');
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');
  const headings = [...prose.matchAll(/^(#+) (.+)$/gm)].map(([, marks = '', title = '']) => ({
    level: marks.length,
    title,
  }));
  return { path, text, headings };
}

/** The titles of the headings below another one. */
export function titlesBelow(page: Page, title: string): string[] {
  const start = page.headings.findIndex((heading) => heading.title === title);
  const parent = page.headings[start];
  if (!parent) return [];
  const after = page.headings.slice(start + 1);
  const end = after.findIndex((heading) => heading.level <= parent.level);
  return (end < 0 ? after : after.slice(0, end)).map((heading) => heading.title);
}

/** The fragment that GitHub gives to a heading. */
export function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

/** A fenced piece of code. */
export interface Block {
  /** What stands behind the fence, such as `sh`; empty where nothing does. */
  language: string;
  /** What stands behind the language, such as `fails` in `sh fails`. Readers do not see it. */
  info: string;
  code: string;
  /** Title of the nearest heading above. */
  heading: string;
}

/** All pieces of code of a page, in order, also those that are indented as part of a list. */
export function blocksOf(page: Page): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  for (const [, title, indent = '', language = '', info = '', text = ''] of page.text.matchAll(
    /^#+ (.+)$|^( *)```(\w*) *([^\n]*)\n([\s\S]*?)^\2```$/gm,
  )) {
    if (title !== undefined) heading = title;
    else blocks.push({ language, info, code: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''), heading });
  }
  return blocks;
}

/** The pieces of code directly below a heading. */
export function blocksBelow(page: Page, title: string): Block[] {
  return blocksOf(page).filter(({ heading }) => heading === title);
}

/**
 * The first line of a page that an output does not have, after those before it. `…` stands for any text, and a blank for any
 * number of blanks. Lines that are only in the output do not matter.
 */
export function missingLine(shown: string, output: string): string | undefined {
  let printed = output.split('\n').map((line) => line.trim());
  for (const line of shown.trim().split('\n')) {
    const words = line.trim().split(/\s+/).map(literally);
    const wanted = new RegExp(`^${words.join('\\s+').replaceAll('…', '.*')}$`);
    const at = printed.findIndex((each) => wanted.test(each));
    if (at < 0) return line;
    printed = printed.slice(at + 1);
  }
  return undefined;
}

const literally = (word: string) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
