import type { Result } from '../spiffe/pki/result.ts';

/** The newest good value of a file, and what is wrong with the file as it is now. */
export interface LastGood<T> {
  readonly value: T | undefined;
  readonly reason: string | undefined;
}

/**
 * Makes a function that parses the content of a file after each reading. The same content gives the same value, and a
 * content that cannot be used leaves the value as it was.
 */
export function keepLastGood<T>(parse: (text: string) => Result<T>): (text: Result<string>) => LastGood<T> {
  let good: { readonly text: string; readonly value: T } | undefined;
  return (text) => {
    if (!text.ok) return { value: good?.value, reason: text.reason };
    if (text.value === good?.text) return { value: good.value, reason: undefined };
    const parsed = parse(text.value);
    if (!parsed.ok) return { value: good?.value, reason: parsed.reason };
    good = { text: text.value, value: parsed.value };
    return { value: parsed.value, reason: undefined };
  };
}
