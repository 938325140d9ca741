import { type PoolProblem, type PoolProblemReason, poolProblem } from './problem.ts';

/** Returns the first problem of a value, at a field. */
export type Check = (value: unknown, field: string) => PoolProblem | undefined;

const restore = 'correct it, or put a copy back with `kubespiffe ca restore`';

export const problemAt = (
  field: string,
  what: string,
  remedy: string = restore,
  reason: PoolProblemReason = 'PoolMalformed',
): PoolProblem => poolProblem(reason, field, what, remedy);

export const text =
  (what: string, accepts: (value: string) => boolean): Check =>
  (value, field) =>
    typeof value === 'string' && accepts(value) ? undefined : problemAt(field, `must be ${what}`);

export const exactly = (expected: string): Check =>
  text(JSON.stringify(expected), (value) => value === expected);

export const flag: Check = (value, field) =>
  typeof value === 'boolean' ? undefined : problemAt(field, 'must be true or false');

export const listOf =
  (limit: number, item: Check, remedy: string): Check =>
  (value, field) => {
    if (!Array.isArray(value)) return problemAt(field, 'must be a list');
    if (value.length > limit)
      return problemAt(field, `has ${value.length} entries, more than ${limit}`, remedy);
    const problems = Iterator.from(value).map((entry, index) => item(entry, `${field}[${index}]`));
    return problems.find((problem) => problem !== undefined);
  };

/** An object of these fields and no others: a misspelt `tainted` must not pass as "not tainted". */
export const objectOf =
  (required: Record<string, Check>, optional: Record<string, Check> = {}): Check =>
  (value, field) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return problemAt(field, 'must be an object');
    const present = value as Record<string, unknown>;
    const all = { ...required, ...optional };
    const unknown = Object.keys(present).find((name) => !Object.hasOwn(all, name));
    if (unknown !== undefined) {
      return problemAt(
        `${field}.${shownName(unknown)}`,
        'is not a field of a pool',
        'correct its name (docs/reference/pool.md lists the fields) or remove it',
      );
    }
    const problems = Iterator.from(Object.entries(all)).map(([name, check]) => {
      const at = `${field}.${name}`;
      if (Object.hasOwn(present, name)) return check(present[name], at);
      return Object.hasOwn(required, name) ? problemAt(at, 'is missing') : undefined;
    });
    return problems.find((problem) => problem !== undefined);
  };

/** An untrusted name as it may be shown; `?` for other text, which could be a key that was pasted in the wrong place. */
export function shownName(word: string): string {
  return /^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(word) ? word : '?';
}
