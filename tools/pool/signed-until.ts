import type { AuthorityRecord } from '../../signer/authority/document.ts';
import type { PoolPlace } from '../../signer/authority/pool-secret.ts';
import {
  type MayHaveSignedUntil,
  mayHaveSignedUntil,
  readSignedUntil,
  signedUntilName,
} from '../../signer/authority/signed-until.ts';
import {
  beginSignedUntil,
  raiseSignedUntil,
  readSignedUntilRecord,
} from '../../signer/authority/signed-until-record.ts';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import type { Terminal } from '../terminal.ts';

/** What the record of a pool proves. Without the right to read it nothing is proved, and a warning is printed. */
export async function readProof(
  api: Transport,
  terminal: Terminal,
  pool: PoolPlace,
  trustDomain: string | undefined,
): Promise<MayHaveSignedUntil> {
  try {
    const record = await readSignedUntilRecord(api, pool);
    return mayHaveSignedUntil(record?.signedUntil ?? readSignedUntil(undefined), trustDomain);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const what = `the record ${pool.namespace}/${signedUntilName(pool.name)} cannot be read`;
    terminal.err(`warning: ${what}, so the maximum lifetimes are assumed: ${printable(error.message)}\n`);
    return () => undefined;
  }
}

/** Records that authorities which were just made have signed nothing. Without the right to do that a warning is printed. */
export async function beginRecord(
  api: Transport,
  terminal: Terminal,
  pool: PoolPlace,
  made: readonly AuthorityRecord[],
  facts: Parameters<typeof beginSignedUntil>[3],
): Promise<void> {
  try {
    await beginSignedUntil(api, pool, made, facts);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const what = `the record ${pool.namespace}/${signedUntilName(pool.name)} cannot be written`;
    const so = 'so it is assumed that the new authority has signed with the maximum lifetimes';
    terminal.err(`warning: ${what}, ${so}: ${printable(error.message)}\n`);
  }
}

/**
 * Records something that a command is about to sign itself.
 * @throws CliError without the right to do that: what is in no record must not be signed.
 */
export async function recordSigned(
  api: Transport,
  pool: PoolPlace,
  authority: AuthorityRecord,
  ends: Parameters<typeof raiseSignedUntil>[3],
): Promise<void> {
  try {
    await raiseSignedUntil(api, pool, authority, ends);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const what = `the record ${pool.namespace}/${signedUntilName(pool.name)} cannot be written, so nothing is signed`;
    const hint = 'the Role kubespiffe-ca-operator of manifests/base grants it';
    throw new CliError(error.code, `${what}: ${error.message}`, hint, { cause: error });
  }
}

function isForbidden(error: unknown): error is ApiStatusError {
  return error instanceof ApiStatusError && error.status === 403;
}
