import { CliError } from './errors.ts';

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Reads a duration such as `8760h`, `1h30m` or `365d`: Go's form, which kubectl users know, and days beside it.
 * @param flag that it is the value of, for the error.
 * @returns whole seconds.
 * @throws CliError USAGE
 */
export function parseDuration(text: string, flag: string): number {
  const parts = [...text.matchAll(/(\d+)([smhd])/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
    throw new CliError(
      'USAGE',
      `${flag} ${JSON.stringify(text)} is not a duration`,
      'write it like 8760h, 90d or 1h30m',
    );
  }
  return parts.reduce((sum, part) => sum + Number(part[1]) * (unitSeconds[part[2] ?? ''] ?? 0), 0);
}
