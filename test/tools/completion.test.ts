import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { table } from '../../signer/config/table.ts';
import { run } from './run.ts';

/** What is typed, the cursor at its end, and what the shell then offers. */
const lines: [line: string, offered: string[]][] = [
  ['kubespiffe c', ['ca', 'completion']],
  ['kubespiffe ca i', ['import']],
  ['kubespiffe ca create --tru', ['--trust-domain']],
  ['kubespiffe ca create --key-type rsa', ['rsa-3072', 'rsa-4096']],
  ['kubespiffe inspect -o ', ['json', 'yaml']],
  ['kubespiffe inspect p', ['pcr']],
  ['kubespiffe completion f', ['fish']],
  ['kubespiffe token --endp', ['--endpoint']],
  ['kubespiffe signer --ku', ['--kubeconfig']],
  ['kubespiffe signer --check', ['--check-config']],
  ['kubespiffe signer --log-level ', ['debug', 'error', 'info', 'trace', 'warn']],
  ['kubespiffe ca create --namespace ', ['']],
  ['kubespiffe signer --metrics-address ', ['']],
  ['kubespiffe signer --', ['--config', '--check-config', '--help', ...table.byFlag.keys()]],
];

/** Runs a shell with our script, as its users have it, on these lines. @returns what it offers for each. */
const shells: Record<string, (script: string, typed: readonly string[]) => string[][]> = {
  bash: (script, typed) =>
    typed.map((line) => {
      const words = line.split(' ').map((word) => `'${word}'`);
      // Bash completes on a terminal alone; what it does then is to call the function that the script has registered.
      const completing =
        '[[ $(complete -p kubespiffe) =~ -F\\ ([^ ]+) ]] || exit 1; ' +
        `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; ` +
        `"\${BASH_REMATCH[1]}" && echo "\${COMPREPLY[@]}"`;
      return wordsOf(shell('bash', ['-c', `source ${script}; ${completing}`]));
    }),
  zsh: (script, typed) => {
    const offered = shell('zsh', ['-f', join(import.meta.dirname, 'zsh-complete.zsh'), script, ...typed]);
    return offered.trimEnd().split('\n').map(wordsOf);
  },
  fish: (script, typed) =>
    typed.map((line) => {
      const offered = shell('fish', ['--private', '-c', `source ${script}; complete -C '${line}'`]);
      return offered
        .trim()
        .split('\n')
        .map((row) => row.split('\t', 1)[0] ?? '');
    }),
};

function shell(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', timeout: 60_000, cwd: tmpdir() });
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new Error(`${program} is missing: run scripts/debian-packages.sh zsh fish`);
  }
}

const wordsOf = (text: string) => text.trim().split(' ');

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
      it(`offers what may follow \`${line}\``, () => {
        assert.deepEqual([...(offered[index] ?? [])].sort(), [...expected].sort());
      });
    }
  });
}

describe('completion on a terminal', () => {
  it('gives a command no slash in bash where a folder has its name, as in our own checkout', async () => {
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
