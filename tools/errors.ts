import type { PoolProblem } from '../signer/authority/problem.ts';
import { type ErrorCode, KubespiffeError } from '../signer/errors.ts';

/** What a command prints as `error: …` and `hint: …`. */
export class CliError extends KubespiffeError {
  /** What the person can do about it. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(code, message, options);
    this.hint = hint;
  }
}

/** The exit codes of every command. */
export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const;

/** A fault of a pool as the error of a command. */
export function poolError(problem: PoolProblem): CliError {
  const code = problem.reason === 'PoolMissing' ? 'POOL_MISSING' : 'POOL_INVALID';
  return new CliError(code, `${problem.field}: ${problem.what}`, problem.remedy);
}
