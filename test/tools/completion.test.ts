import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { table } from '../../signer/config/table.ts';
import { run } from './run.ts';
import { shells } from './shells.ts';

/** What is typed, the cursor at its end, and what the shell then offers. */
const lines: [line: string, offered: string[]][] = [
  ['kubespiffe c', ['ca', 'completion']],
  ['kubespiffe ca i', ['import']],
  ['kubespiffe ca create --tru', ['--trust-domain']],
  ['kubespiffe ca create --key-type rsa', ['rsa-3072', 'rsa-4096']],
  ['kubespiffe inspect -o ', ['json', 'yaml']],
  ['kubespiffe inspect p', ['pcr']],
  ['kubespiffe completion f', ['fish']],
  ['kubespiffe explain p', ['pod']],
  ['kubespiffe registration what-if --fi', ['--filename']],
  ['kubespiffe token --endp', ['--endpoint']],
  ['kubespiffe signer --ku', ['--kubeconfig']],
  ['kubespiffe signer --check', ['--check-config']],
  ['kubespiffe signer --log-level ', ['debug', 'error', 'info', 'trace', 'warn']],
  ['kubespiffe ca create --namespace ', ['']],
  ['kubespiffe signer --metrics-address ', ['']],
  ['kubespiffe signer --', ['--config', '--check-config', '--help', ...table.byFlag.keys()]],
];

for (const [name, complete] of Object.entries(shells)) {
  describe(`completion in ${name}`, () => {
    let folder = '';
    let offered: string[][] = [];
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'kubespiffe-completion-'));
      const { code, stdout, stderr } = await run(['completion', name]);
      assert.equal(code, 0, stderr);
      writeFileSync(join(folder, 'script'), stdout);
      offered = complete(
        join(folder, 'script'),
        lines.map(([line]) => line),
      );
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    for (const [index, [line, expected]] of lines.entries()) {
      it(`completion in ${name} offers the next words of \`${line}\``, () => {
        assert.deepEqual([...(offered[index] ?? [])].sort(), [...expected].sort());
      });
    }
  });
}

describe('completion on a terminal', () => {
  it('completion in bash gives a command no slash if a folder has its name, as in our own checkout', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-completion-'));
    try {
      mkdirSync(join(folder, 'signer'));
      writeFileSync(join(folder, 'script'), (await run(['completion', 'bash'])).stdout);
      const typed = `source ./script; kubespiffe() { echo "ran <$*>"; }\nkubespiffe sig\t\nexit\n`;
      const seen = execFileSync('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], {
        encoding: 'utf8',
        timeout: 60_000,
        cwd: folder,
        input: typed,
        env: { ...process.env, TERM: 'dumb' },
      });
      assert.match(seen, /^ran <signer>/m);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
