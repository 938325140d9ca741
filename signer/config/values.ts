import { nearest } from '../../spiffe/nearest.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** A kind of value that a setting may have. */
export interface ValueType<T> {
  /** How a value is named in usage lines, such as `DURATION`. */
  readonly placeholder: string;
  /** The rules in one sentence, for help and documentation. */
  readonly rule: string;
  /** The values, where they are a few words. */
  readonly words?: readonly string[];
  /** What every value fulfils, in keywords of JSON Schema, for the Helm chart. There an empty text means that nothing is set. */
  readonly schema?: Readonly<Record<string, unknown>>;
  /** Reads a value as written; the reason of a failure says how to write it. */
  parse(text: string): Result<T>;
}

export const text: ValueType<string> = {
  placeholder: 'TEXT',
  rule: 'any text',
  parse: (value) => success(value),
};

export const filePath: ValueType<string> = {
  placeholder: 'FILE',
  rule: 'path of a file',
  parse: (value) =>
    value.includes('\0') ? failure('contains a NUL character, which no path may have') : success(value),
};

/** One of a few words. */
export function choice<T extends string>(words: readonly T[]): ValueType<T> {
  return {
    placeholder: words.join('|'),
    rule: `one of ${words.map((word) => `\`${word}\``).join(', ')}`,
    words,
    parse(value) {
      const word = words.find((candidate) => candidate === value);
      if (word) return success(word);
      const guess = nearest(value, words);
      return failure(`is not one of ${words.join(', ')}${guess ? `; did you mean "${guess}"?` : ''}`);
    },
  };
}

const words = choice<'true' | 'false'>(['true', 'false']);

/** Whether something is on. */
export const boolean: ValueType<boolean> = {
  ...words,
  parse(value) {
    const read = words.parse(value);
    return read.ok ? success(read.value === 'true') : read;
  },
};

const numbers =
  (what: string, type: 'number' | 'integer', form: RegExp) =>
  (least: number, most: number): ValueType<number> => {
    const rule = `${what} from ${least} to ${most}`;
    return {
      placeholder: 'NUMBER',
      rule,
      schema: { type, minimum: least, maximum: most },
      parse(value) {
        const number = form.test(value) ? Number(value) : Number.NaN;
        return number >= least && number <= most ? success(number) : failure(`is not ${rule}`);
      },
    };
  };

/** A decimal number within bounds, both included. */
export const decimal = numbers('a number', 'number', /^\d+(\.\d+)?$/);

/** A whole number within bounds, both included. */
export const whole = numbers('a whole number', 'integer', /^\d+$/);

const durationForm = '^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$';
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration such as `1h30m`, or undefined for other text. Units go from large to small. */
export function parseDuration(value: string): number | undefined {
  if (!new RegExp(durationForm).test(value) || value === '') return undefined;
  let total = 0;
  for (const [, count, unit = ''] of value.matchAll(/(\d+)(ms|[dhms])/g))
    total += Number(count) * (unitMs[unit] ?? 0);
  return total;
}

/** A duration in milliseconds, within bounds that are written as durations, both included. */
export function duration(least: string, most: string): ValueType<number> {
  const [leastMs = 0, mostMs = 0] = [parseDuration(least), parseDuration(most)];
  return {
    placeholder: 'DURATION',
    rule: `a duration such as \`90s\`, \`1h30m\` or \`24h\`, from ${least} to ${most}`,
    schema: { type: 'string', pattern: durationForm },
    parse(value) {
      const ms = parseDuration(value);
      if (ms === undefined)
        return failure('is not a duration; write numbers with units (d, h, m, s, ms), such as 1h30m');
      if (ms < leastMs || ms > mostMs) return failure(`is not between ${least} and ${most}`);
      return success(ms);
    },
  };
}

/** One or more values, separated by commas. */
export function list<T>(of: ValueType<T>): ValueType<readonly T[]> {
  return {
    placeholder: `${of.placeholder},…`,
    rule: `one or more, separated by commas; each ${of.rule}`,
    parse(value) {
      const values: T[] = [];
      for (const part of value.split(',')) {
        const read =
          part.trim() === '' ? failure('has an empty entry; remove the extra comma') : of.parse(part.trim());
        if (!read.ok) return read;
        values.push(read.value);
      }
      return success(values);
    },
  };
}
