import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from '../../client/x509-svid.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { CliError } from '../errors.ts';

const ownerOnly = 0o600;
const everybody = 0o644;

/** What is written, in this order: who sees a new certificate finds the roots that it leads to. */
const files: readonly { name: string; mode: number; content: (from: Credentials) => string }[] = [
  { name: 'roots.pem', mode: everybody, content: ({ rootsPem }) => rootsPem },
  { name: 'chain.pem', mode: everybody, content: ({ chainPem }) => chainPem },
  { name: 'key.pem', mode: ownerOnly, content: ({ keyPem }) => keyPem },
  // As kubelet writes it to credentialBundlePath: in one file, key and chain always belong together.
  { name: 'credentials.pem', mode: ownerOnly, content: ({ keyPem, chainPem }) => keyPem + chainPem },
];

/**
 * Writes key, chain and roots into a folder, which is made if it does not exist. Each file is replaced as a whole, and
 * has its mode before anything is in it.
 *
 * @returns the paths. @throws CliError FILE_UNWRITABLE
 */
export async function writeCredentials(folder: string, credentials: Credentials): Promise<readonly string[]> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const paths: string[] = [];
    for (const { name, mode, content } of files) {
      const path = join(folder, name);
      await replaceFile(path, mode, content(credentials));
      paths.push(path);
    }
    return paths;
  } catch (error) {
    const hint = 'give a folder that can be written to, if possible in memory (tmpfs)';
    throw new CliError('FILE_UNWRITABLE', `${folder}: ${messageOf(error)}`, hint);
  }
}

async function replaceFile(path: string, mode: number, content: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}
