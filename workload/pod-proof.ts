import { readFile } from 'node:fs/promises';
import { KubespiffeError } from '../spiffe/errors.ts';

/** Reads a projected ServiceAccount token. @throws KubespiffeError TOKEN_REFUSED for a file that holds something else. */
export async function readPodToken(file: string): Promise<string> {
  const token = (await readFile(file, 'utf8')).trim();
  // What is not a token is not sent: it may be another file with a secret in it.
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return token;
  throw new KubespiffeError('TOKEN_REFUSED', `${file} holds no ServiceAccount token`);
}
