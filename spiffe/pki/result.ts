/**
 * What a parser at the edge returns: the value, or one sentence that says what is wrong with the input. Bad
 * input is an ordinary outcome there, so nothing is thrown, and a caller cannot forget to look.
 */
export type Result<T> = { ok: true; value: T } | { ok: false; reason: string };

export function success<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function failure(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
