import type { Facts } from './facts.ts';

/** From best to worst. `unknown`: it could not be looked at, and the finding says why. */
export type Result = 'ok' | 'unknown' | 'warning' | 'problem';

/** One row of what `kubespiffe doctor` prints. */
export interface Finding {
  /** An object, or several of one kind. */
  readonly lookedAt: string;
  readonly result: Result;
  readonly found: string;
  /** What to do. Absent only where the result is ok. */
  readonly remedy?: string;
}

export type Findings = Finding | readonly Finding[];

/**
 * Something that a person looks at when nothing works. Reads only.
 *
 * @throws ApiStatusError where a fact may not be read: the check is then `unknown`.
 */
export type Check = (facts: Facts) => Promise<Findings>;

export const ok = (lookedAt: string, found: string): Finding => ({ lookedAt, result: 'ok', found });
const resulting = (result: Result) => (lookedAt: string, found: string, remedy: string) => {
  return { lookedAt, result, found, remedy };
};
export const problem = resulting('problem');
export const warning = resulting('warning');
export const unknown = resulting('unknown');

/** What is wrong, or one row that says that nothing is. */
export function orElse(findings: readonly Finding[], good: Finding): readonly Finding[] {
  return findings.length > 0 ? findings : [good];
}
