import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './command.ts';
import { goBinary } from './go-binary.ts';

export const chartFolder = join(import.meta.dirname, '../../manifests/chart');

/** Helm, built from its Go module. About three minutes on 2 cores, once. */
export function helmBinary(): Promise<string> {
  return goBinary({ name: 'helm', folder: join(import.meta.dirname, 'helm'), title: 'Helm' });
}

/** Runs Helm with an empty configuration of its own; rejects with its own words. */
export async function helm(args: readonly string[]): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'helm-'));
  const homes = ['CACHE', 'CONFIG', 'DATA'].map((name) => `HELM_${name}_HOME=${home}`);
  try {
    return await runCommand('env', ...homes, await helmBinary(), ...args);
  } finally {
    await rm(home, { recursive: true });
  }
}
