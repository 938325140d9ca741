import { parseDuration } from '../signer/config/values.ts';
import { usageError } from './errors.ts';

/**
 * Reads a duration such as `8760h`, `1h30m` or `365d`.
 * @param flag that it is the value of, for the error.
 * @returns whole seconds.
 * @throws CliError USAGE
 */
export function parseSeconds(text: string, flag: string): number {
  const seconds = (parseDuration(text) ?? Number.NaN) / 1000;
  if (Number.isInteger(seconds)) return seconds;
  throw usageError(`${flag} ${JSON.stringify(text)} is not a duration`, 'write it like 8760h, 90d or 1h30m');
}
