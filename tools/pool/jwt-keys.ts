import { type NewJwtKey, newJwtKeys } from '../../signer/authority/create-jwt.ts';
import { usageError } from '../errors.ts';

/**
 * A key for each algorithm. ES256 is what signs unless configured otherwise; RS256 is included from the start because
 * OpenID Connect Discovery 3 demands that every issuer lists it, and because one that is added later signs later.
 */
export const defaultJwtKeys = 'es256,rs256';

/** Reads the value of --jwt-keys: `none`, or names of keys with commas between them. @throws CliError USAGE */
export function parseJwtKeys(text: string): readonly NewJwtKey[] {
  if (text === 'none') return [];
  const names = text.split(',');
  const isKnown = (name: string): name is NewJwtKey => Object.hasOwn(newJwtKeys, name);
  if (!names.every(isKnown) || new Set(names).size !== names.length) {
    const known = Object.keys(newJwtKeys).join(',');
    throw usageError(
      `--jwt-keys ${JSON.stringify(text)} is not a list of keys`,
      `write none, or some of ${known}`,
    );
  }
  return names;
}
