import { type RefusalCode, refusals } from './refusals.ts';

/** The whole sentence of a row, before the detail of a case is filled in. */
export function sentenceOf(code: RefusalCode): string {
  const { problem, remedy } = refusals[code];
  return `${problem}; ${remedy}.`;
}

/** What a step that may refuse returns. `detail` fills the sentence of the row. */
export interface Refused {
  readonly ok: false;
  readonly code: RefusalCode;
  readonly detail: string;
}
export type Checked<T> = { readonly ok: true; readonly value: T } | Refused;

export const pass = <T>(value: T): Checked<T> => ({ ok: true, value });
export const isRefusal = (code: string): code is RefusalCode => Object.hasOwn(refusals, code);
export const refuse = (code: RefusalCode, detail = ''): Refused => ({ ok: false, code, detail });

const maxDetail = 300;

/**
 * The sentence of a refusal as an `error_description`, which may hold neither quotes nor backslashes nor anything
 * outside of printable ASCII (RFC 6749 5.2).
 */
export function describe({ code, detail }: Pick<Refused, 'code' | 'detail'>): string {
  return sentenceOf(code)
    .replace('{}', () => detail.slice(0, maxDetail))
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/g, '?');
}
