import { CliError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** A file that a person named, as messages call it. */
export function nameOfInput(file: string): string {
  return file === '-' ? 'standard input' : file;
}

/** The content of a file that a person named; `-` is standard input. @throws CliError USAGE */
export async function readInput(terminal: Terminal, file: string): Promise<Buffer> {
  try {
    return await terminal.read(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new CliError(
      'USAGE',
      `${nameOfInput(file)} cannot be read (${code})`,
      'see whether the file is there and may be read',
    );
  }
}
