import { type Command, Option } from 'commander';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';
import type { NewKey } from '../../signer/keys/new-key.ts';
import { usageError } from '../errors.ts';

export interface KeyRefOptions {
  keyRef?: string;
  pkcs11Module?: string;
  pkcs11PinFile?: string;
}

/** The options of the commands that make authorities with keys outside of the pool. */
export function withKeyRef(command: Command): Command {
  const keyRef = new Option(
    '--key-ref <uri>',
    'Use a key outside of the pool, such as pkcs11:token=kubespiffe;object=ca-1 or awskms:///ARN.',
  )
    .conflicts('keyType')
    .argParser(checkedKeyRef);
  return withPkcs11(command.addOption(keyRef));
}

/** A reference that is wrong is refused before anything is read. */
function checkedKeyRef(uri: string): string {
  const ref = parseKeyRef(uri);
  if (!ref.ok) throw usageError(`--key-ref ${ref.reason}`, 'docs/guides/keys.md shows how one looks');
  return uri;
}

/** Adds the options of a command that signs with the key of an authority. */
export function withPkcs11(command: Command): Command {
  return command
    .option('--pkcs11-module <file>', 'For a key pkcs11:…: the PKCS#11 module of the token.')
    .option('--pkcs11-pin-file <file>', 'For a key pkcs11:…: a file with the PIN of its user.');
}

/**
 * Opens the key that the options name, lets it be used, and closes it.
 *
 * @throws KubespiffeError USAGE, KEY_UNSUPPORTED, KEY_UNAVAILABLE
 */
export async function withNewKey<T>(
  { keyRef, pkcs11Module: module, pkcs11PinFile: pinFile }: KeyRefOptions,
  env: NodeJS.ProcessEnv,
  use: (key: NewKey | undefined) => Promise<T>,
): Promise<T> {
  if (keyRef === undefined) return use(undefined);
  const [{ openNewKey }, { createOpener }] = await Promise.all([
    import('../../signer/keys/new-key.ts'),
    import('../../signer/keys/openers.ts'),
  ]);
  const key = await openNewKey(keyRef, ({ backend }) =>
    createOpener({ backends: [backend], pkcs11: { module, pinFile, concurrency: 1, env } }),
  );
  try {
    return await use(key);
  } finally {
    key.close();
  }
}
