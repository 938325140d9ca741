import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { outcomes } from '../../signer/observe/reasons.ts';
import { anchorOf, checkout, readPage } from '../docs/markdown.ts';
import { badInput } from './rows.ts';

/** The titles in the source of a test, as regular expressions: what a table fills in is a group. */
function titlesIn(source: string): RegExp[] {
  const written = source.matchAll(/\b(?:test|it)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g);
  const patterns = [...written].map(([, , title = '']) =>
    title
      .split(/\$\{[^}]*\}/)
      .map((part) => escaped(part.replaceAll(/\\(.)/g, '$1')))
      .join('(.+)'),
  );
  const isFilledWhole = /\b(?:test|it)\((?:name|when),/.test(source);
  return [...patterns, ...(isFilledWhole ? ['(.+)'] : [])].map((pattern) => new RegExp(`^${pattern}$`));
}

/** Whether a source has a test of that name: what its title leaves open has to stand in one of its tables. */
function hasTest({ source, tables }: { source: string; tables: string }, name: string): boolean {
  const standsInATable = (part: string) => new RegExp(`['"\`[ ]${escaped(part)}['"\`,\\]]`).test(tables);
  return titlesIn(source).some((title) => {
    const [found, ...filled] = title.exec(name) ?? [];
    return found !== undefined && filled.every(standsInATable);
  });
}

const escaped = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** A test's source, and where its tables may be: there, or in what it imports of ours. */
async function readTest(file: string): Promise<{ source: string; tables: string }> {
  const path = join(checkout, 'test', file);
  const source = await readFile(path, 'utf8');
  const imported = [...source.matchAll(/ from '(\.[^']+\.ts)'/g)].map(([, target = '']) =>
    readFile(join(dirname(path), target), 'utf8'),
  );
  return { source, tables: [source, ...(await Promise.all(imported))].join('\n') };
}

/** The rows of the documentation's table: input, what it ends in, what a person sees. */
async function documented(): Promise<string[][]> {
  const { text } = await readPage('docs/reference/outcomes.md');
  const section = text.split('\n## Bad input\n')[1]?.split('\n## ')[0] ?? '';
  const lines = section.split('\n').filter((line) => line.startsWith('| '));
  return lines.slice(1).map((line) =>
    line
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.trim()),
  );
}

/** A verdict as the documentation writes it. */
function written(verdict: (typeof badInput)[number]['verdict']): string {
  if (typeof verdict === 'string') return verdict;
  const links = verdict.map((reason) => `[${reason}](#${anchorOf(reason)})`).join(', ');
  const [kind] = new Set(verdict.map((reason) => outcomes[reason].verdict));
  return kind === 'issue' ? links : `${kind} ${links}`;
}

describe('bad input', () => {
  it('is documented row by row, with the verdict that the tests show', async () => {
    assert.deepEqual(
      (await documented()).map(([input, endsIn]) => [input, endsIn]),
      badInput.map(({ input, verdict }) => [input, written(verdict)]),
    );
  });

  it('is in the documentation, with what a user sees of it', async () => {
    for (const [input, , seen] of await documented()) assert.ok((seen ?? '').length > 5, input);
  });

  for (const { input, verdict, tests } of badInput) {
    it(`has tests of its own: ${input}`, async () => {
      assert.ok(tests.length > 0);
      for (const [file, name] of tests) assert.ok(hasTest(await readTest(file), name), `${file}: ${name}`);
    });

    it(`has one verdict: ${input}`, () => {
      if (typeof verdict === 'string') return;
      assert.equal(new Set(verdict.map((reason) => outcomes[reason].verdict)).size, 1);
    });
  }

  it('leaves no reason out that it can bring about', () => {
    const named = new Set(badInput.flatMap(({ verdict }) => (typeof verdict === 'string' ? [] : verdict)));
    const elsewhere = Object.keys(outcomes).filter((reason) => !named.has(reason as keyof typeof outcomes));
    // What the state of the cluster brings about, and our own faults.
    assert.deepEqual(elsewhere.sort(), [...stateOfTheCluster].sort());
  });
});

const stateOfTheCluster = ['KeyNotVisible', 'SigningNotRecorded', 'TrustNotPublished', 'StatusRejected'];
