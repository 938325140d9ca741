import { hash } from 'node:crypto';

const hashLength = 16;

/**
 * Keeps a name within a limit. A longer name is cut, and a hash of the whole name makes it unique again.
 *
 * @param longest in characters.
 */
export function shortName(name: string, longest: number): string {
  return name.length <= longest ? name : withHash(name, longest, name);
}

/** `name`, cut so that a hash of `of` fits behind it. Starts as an object name if `name` does, and always ends as one. */
export function withHash(name: string, longest: number, of: string): string {
  const cut = cutName(name, longest - hashLength - 1);
  return `${cut}-${hash('sha256', of, 'hex').slice(0, hashLength)}`;
}

/** The first characters of a name, without the `.` and `-` that no object name may end in (RFC 1123). */
export function cutName(name: string, longest: number): string {
  return name.slice(0, longest).replace(/[.-]+$/, '');
}
