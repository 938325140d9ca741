import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { outcomes } from '../../signer/observe/reasons.ts';
import { anchorOf, readPage } from '../docs/markdown.ts';
import { badInput } from './rows.ts';

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
  it('bad input is documented row by row, with the verdict of the tests', async () => {
    assert.deepEqual(
      (await documented()).map(([input, endsIn]) => [input, endsIn]),
      badInput.map(({ input, verdict }) => [input, written(verdict)]),
    );
  });

  it('bad input is in the documentation, with what a user sees of it', async () => {
    for (const [input, , seen] of await documented()) assert.ok((seen ?? '').length > 5, input);
  });

  for (const { input, verdict, tests } of badInput) {
    // scripts/test.ts says whether they have passed.
    it(`bad input has tests of its own: ${input}`, () => assert.ok(tests.length > 0));

    it(`bad input has one verdict: ${input}`, () => {
      if (typeof verdict === 'string') return;
      assert.equal(new Set(verdict.map((reason) => outcomes[reason].verdict)).size, 1);
    });
  }

  it('bad input has a row for every reason that it can cause', () => {
    const named = new Set(badInput.flatMap(({ verdict }) => (typeof verdict === 'string' ? [] : verdict)));
    const elsewhere = Object.keys(outcomes).filter((reason) => !named.has(reason as keyof typeof outcomes));
    // What the state of the cluster brings about, and our own faults.
    assert.deepEqual(elsewhere.sort(), [...stateOfTheCluster].sort());
  });
});

const stateOfTheCluster = [
  'IdentityNotKnown',
  'KeyNotVisible',
  'SigningNotRecorded',
  'TrustNotPublished',
  'StatusRejected',
];
