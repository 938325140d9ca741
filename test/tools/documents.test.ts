import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { authorityKinds, authorityStates } from '../../signer/authority/states.ts';
import { buildProgram } from '../../tools/cli.ts';
import { everyCommand, pathOf } from '../../tools/run.ts';
import type { Terminal } from '../../tools/terminal.ts';

const page = (name: string) => readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), 'utf8');

const terminal: Terminal = {
  out: () => undefined,
  err: () => undefined,
  hasColor: false,
  read: async () => Buffer.alloc(0),
  env: {},
  now: Date.now,
};

describe('docs/reference/cli.md', () => {
  const text = page('cli.md');
  const sections = text.split(/^## /m).slice(1);
  const leaves = everyCommand(buildProgram(terminal, () => undefined)).filter(
    ({ commands, registeredArguments, options }) =>
      commands.length === 0 || registeredArguments.length > 0 || options.length > 0,
  );

  for (const command of leaves) {
    it(`docs/reference/cli.md describes ${pathOf(command)} with all its flags`, () => {
      const section = sections.find((each) => each.startsWith(`${pathOf(command)}\n`));
      assert.ok(section, 'there is no heading of its own');
      // One page says it once where the flags are those of the command above.
      const above = section.includes('flags are those of `inspect`') ? text : section;
      for (const option of command.options) {
        assert.ok(above.includes(`\`${option.long}`), `${option.long} is not described`);
      }
    });
  }

  it('docs/reference/cli.md describes only commands that exist', () => {
    const paths = new Set(leaves.map(pathOf));
    for (const section of sections) {
      const heading = section.split('\n', 1)[0] ?? '';
      assert.ok(paths.has(heading), heading);
    }
  });
});

describe('docs/reference/pool.md', () => {
  const text = page('pool.md');
  for (const word of [...authorityStates, ...authorityKinds]) {
    it(`docs/reference/pool.md describes ${word}`, () => assert.ok(text.includes(`\`${word}\``)));
  }
});
