import { writeFile } from 'node:fs/promises';
import { CliError } from './errors.ts';

/**
 * Writes a file that does not exist yet. One with a private key is for its owner alone.
 * @throws CliError ALREADY_EXISTS, FILE_UNWRITABLE
 */
export async function writeNewFile(path: string, content: string, { isPrivate = false } = {}): Promise<void> {
  try {
    await writeFile(path, content, { flag: 'wx', mode: isPrivate ? 0o600 : 0o644 });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    if (code === 'EEXIST') {
      throw new CliError('ALREADY_EXISTS', `${path} exists already`, 'give the name of a new file');
    }
    throw new CliError(
      'FILE_UNWRITABLE',
      `${path} cannot be written (${code})`,
      'give a path that you may write to',
    );
  }
}
