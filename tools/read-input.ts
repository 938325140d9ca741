import { CliError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** The content of a file that a person named; `-` is standard input. @throws CliError USAGE */
export async function readInput(terminal: Terminal, file: string): Promise<Buffer> {
  try {
    return await terminal.read(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new CliError(
      'USAGE',
      `${file} cannot be read (${code})`,
      'see whether the file is there and may be read',
    );
  }
}
