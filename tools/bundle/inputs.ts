import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import { nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';
import { readTrustMaterial, type TrustMaterial } from './formats.ts';

/** Warns of each key of a bundle that its reader leaves out, with the reason. */
export function warnOfIgnored(terminal: Terminal, { ignored }: Pick<TrustMaterial, 'ignored'>): void {
  for (const each of ignored) terminal.err(`warning: ${printable(each)}, so the key is ignored\n`);
}

/** The roots in a file, which may be PEM or a SPIFFE bundle, as PEM. @throws CliError */
export async function rootsFrom(terminal: Terminal, file: string): Promise<string> {
  const material = readTrustMaterial(await readInput(terminal, file));
  const name = nameOfInput(file);
  if (!material.ok) throw new CliError('BUNDLE_INVALID', `${name}: ${material.reason}`);
  if (material.value.roots.length === 0) throw new CliError('BUNDLE_INVALID', `${name}: it contains no root`);
  return certificatesPem(material.value.roots);
}
