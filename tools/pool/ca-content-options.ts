import type { Command } from 'commander';
import { usageError } from '../errors.ts';

/** The options that say what a CA may sign. */
export interface CaContentOptions {
  pathLength?: string;
  nameConstraints?: true;
}

export const withCaContent = (pathLengthWithoutOption: string) => (command: Command) =>
  command
    .option(
      '--path-length <number>',
      `Maximum number of CAs between this one and a leaf. (default: ${pathLengthWithoutOption})`,
    )
    .option(
      '--name-constraints',
      'Let the CA sign SPIFFE IDs of its trust domain only. Not every verifier processes this.',
    );

/** @throws CliError USAGE */
export function caContentOf({ pathLength, nameConstraints }: CaContentOptions): {
  pathLength?: number;
  onlyTrustDomain?: boolean;
} {
  if (pathLength !== undefined && !/^[0-4]$/.test(pathLength)) {
    const what = `--path-length ${JSON.stringify(pathLength)} is not a whole number from 0 to 4`;
    throw usageError(what, 'write 0 for a CA that signs no other CA');
  }
  return {
    ...(pathLength !== undefined && { pathLength: Number(pathLength) }),
    ...(nameConstraints && { onlyTrustDomain: true }),
  };
}
