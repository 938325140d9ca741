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

/** Something that a person looks at when nothing works. Reads only. */
export interface Check {
  /** For programs too, such as `trust-bundles`. */
  readonly name: string;
  /** @throws ApiStatusError where a fact may not be read: the check is then `unknown`. */
  look(facts: Facts): Promise<readonly Finding[]>;
}

export const ok = (lookedAt: string, found: string): Finding => ({ lookedAt, result: 'ok', found });
export const problem = (lookedAt: string, found: string, remedy: string): Finding => ({
  ...{ lookedAt, result: 'problem', found, remedy },
});
export const warning = (lookedAt: string, found: string, remedy: string): Finding => ({
  ...{ lookedAt, result: 'warning', found, remedy },
});
export const unknown = (lookedAt: string, found: string, remedy: string): Finding => ({
  ...{ lookedAt, result: 'unknown', found, remedy },
});

/** What is wrong, or one row that says that nothing is. */
export function orElse(findings: readonly Finding[], good: Finding): readonly Finding[] {
  return findings.length > 0 ? findings : [good];
}
