import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkout } from '../docs/markdown.ts';
import type { ControlPlane } from './control-plane.ts';

/** A folder of programs that comes first in the PATH of commands. */
export interface Programs {
  readonly PATH: string;
  /** Writes a program, in place of one of the machine. */
  write(name: string, script: string): Promise<void>;
}

/** The programs that pages call: `kubectl` of this cluster's version, and `kubespiffe` of the checkout. */
export async function openPrograms({ binaries }: ControlPlane, folder: string): Promise<Programs> {
  await mkdir(folder, { recursive: true });
  const write: Programs['write'] = (name, script) =>
    writeFile(join(folder, name), script.startsWith('#!') ? script : `#!/bin/sh\n${script}\n`, {
      mode: 0o755,
    });
  await write('kubectl', `exec ${(binaries.command('kubectl') ?? []).join(' ')} "$@"`);
  await write('kubespiffe', `exec ${join(checkout, 'bin/kubespiffe')} "$@"`);
  return { PATH: `${folder}:${process.env.PATH}`, write };
}
