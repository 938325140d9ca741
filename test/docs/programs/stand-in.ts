import { appendFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { argv, env, exit } from 'node:process';
import { faultOf } from './documented.ts';

/**
 * Puts stand-ins of programs into a folder for the PATH. Each ends with 2 for arguments that the documentation of its program
 * does not have, and then runs a script of the shell, if there is one. The calls are written to a file, one JSON list a line.
 */
export async function writeStandIns(
  folder: string,
  programs: Readonly<Record<string, string>>,
  calls = '/dev/null',
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, script] of Object.entries(programs)) {
    const check = `CALLS='${calls}' '${process.execPath}' '${import.meta.filename}' ${name} "$@" || exit`;
    await writeFile(join(folder, name), `#!/bin/sh\n${check}\n${script}\n`, { mode: 0o755 });
  }
}

if (import.meta.main) {
  const [program = '', ...args] = argv.slice(2);
  const fault = faultOf(program, args);
  if (fault !== undefined) {
    console.error(fault);
    exit(2);
  }
  appendFileSync(env.CALLS ?? '/dev/null', `${JSON.stringify([program, ...args])}\n`);
}
