import type { Document } from 'yaml';
import { encodePem } from '../spiffe/pki/pem.ts';
import { textOf } from '../spiffe/pki/text.ts';
import { CliError, usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** A file that a person named, as messages call it. */
export function nameOfInput(file: string): string {
  return file === '-' ? 'standard input' : file;
}

/**
 * Looks at what a file holds, and names the file in each error.
 * @throws CliError what `look` throws, with the file before it.
 */
export function lookInto<T>(file: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(error.code, `${nameOfInput(file)}: ${error.message}`, error.hint);
  }
}

/** The PEM text of a file with certificates, which may also be the DER of one: that begins with a SEQUENCE. */
export function pemText(content: Buffer): string {
  return content[0] === 0x30 ? encodePem('CERTIFICATE', content) : textOf(content);
}

/** The content of a file that a person named; `-` is standard input. @throws CliError USAGE */
export async function readInput(terminal: Terminal, file: string): Promise<Buffer> {
  try {
    return await terminal.read(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw usageError(
      `${nameOfInput(file)} cannot be read (${code})`,
      'check that the file exists and that you may read it',
    );
  }
}

/**
 * What a YAML document without errors says. It is parsed with the level `error`: warnings quote the text. A small file with aliases of aliases could become a huge tree.
 * @throws CliError USAGE for aliases that are too many or have no anchor. The parser's own message quotes the text.
 */
export function documentValue(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 10 });
  } catch {
    throw usageError(
      'there are too many YAML aliases, or one has no anchor',
      'write out what they stand for',
    );
  }
}
