import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { run } from './run.ts';

const commands = [
  ['inspect', '-'],
  ['registration', 'lint', '-'],
  ['registration', 'what-if', '-f', '-'],
];
const bomb = ['kind: List', 'a: &a [x, x]', 'b: &b [*a, *a, *a]', 'c: [*b, *b, *b]', ''].join('\n');

describe('YAML that a person gives to a command', () => {
  for (const command of commands) {
    for (const [what, input] of [
      ['aliases of aliases', bomb],
      ['an alias without an anchor', 'kind: List\nitems: *s3cret\n'],
    ] as const) {
      it(`\`kubespiffe ${command.join(' ')}\` refuses ${what} with 2, the file and a hint`, async () => {
        const { code, stdout, stderr } = await run(command, { input });
        assert.deepEqual([code, stdout], [2, '']);
        assert.equal(
          stderr,
          'error: standard input: there are too many YAML aliases, or one has no anchor\nhint: write out what they stand for\n',
        );
      });
    }
  }

  for (const command of commands) {
    it(`\`kubespiffe ${command.join(' ')}\` prints no part of a template that was not rendered`, async () => {
      const { stderr } = await run(command, { input: 'metadata: { name: {{ .Values.s3cret }} }\n' });
      assert.doesNotMatch(stderr, /s3cret|Warning/);
    });
  }
});
