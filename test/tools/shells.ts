import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs a shell with our script, as its users have it, on these lines. @returns what it offers for each. */
export type Completing = (
  script: string,
  typed: readonly string[],
  env?: Readonly<Record<string, string>>,
) => string[][];

export const shells: Readonly<Record<string, Completing>> = {
  bash: (script, typed, env) =>
    typed.map((line) => {
      const words = line.split(' ').map((word) => `'${word}'`);
      // Bash completes on a terminal alone; what it does then is to call the function that the script has registered.
      const completing =
        '[[ $(complete -p kubespiffe) =~ -F\\ ([^ ]+) ]] || exit 1; ' +
        `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; ` +
        `"\${BASH_REMATCH[1]}" && echo "\${COMPREPLY[@]}"`;
      return wordsOf(shell('bash', ['-c', `source ${script}; ${completing}`], env));
    }),
  zsh: (script, typed, env) => {
    const offered = shell(
      'zsh',
      ['-f', join(import.meta.dirname, 'zsh-complete.zsh'), script, ...typed],
      env,
    );
    return offered.trimEnd().split('\n').map(wordsOf);
  },
  fish: (script, typed, env) =>
    typed.map((line) => {
      const offered = shell('fish', ['--private', '-c', `source ${script}; complete -C '${line}'`], env);
      return offered
        .trim()
        .split('\n')
        .map((row) => row.split('\t', 1)[0] ?? '');
    }),
};

function shell(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  try {
    return execFileSync(program, args, {
      ...{ encoding: 'utf8', timeout: 60_000, cwd: tmpdir() },
      env: { ...process.env, ...env },
    });
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new Error(`${program} is missing: run scripts/debian-packages.sh zsh fish`);
  }
}

const wordsOf = (text: string) => text.trim().split(' ');
