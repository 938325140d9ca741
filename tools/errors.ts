import type { PoolProblem } from '../signer/authority/problem.ts';
import { type ErrorCode, KubespiffeError } from '../spiffe/errors.ts';

/** What a command prints as `error: …` and `hint: …`. */
export class CliError extends KubespiffeError {
  constructor(code: ErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(code, message, { ...options, ...(hint !== undefined && { hint }) });
  }
}

/** The exit codes of every command. */
export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const;

/** A command line that asks for what cannot be: exit code 2. */
export function usageError(what: string, hint?: string): CliError {
  return new CliError('USAGE', what, hint);
}

/** No such Secret: it has another name, is in another namespace, or was never made. */
export function poolMissing({ namespace, name }: { namespace: string; name: string }): CliError {
  const hint =
    'check --namespace and --name; if the Secret was lost, put a copy back with `kubespiffe ca restore`; ' +
    `for a first installation make it with \`kubespiffe ca create --namespace ${namespace} --name ${name} …\``;
  return new CliError('POOL_MISSING', `there is no Secret ${namespace}/${name}`, hint);
}

/** A problem of a pool as the error of a command. */
export function poolError({ field, what, remedy }: PoolProblem): CliError {
  return poolInvalid(`${field}: ${what}`, remedy);
}

/** A pool that cannot be used, or cannot be changed like that. */
export function poolInvalid(what: string, remedy: string): CliError {
  return new CliError('POOL_INVALID', what, remedy);
}
