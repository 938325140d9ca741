import { isJsonObject, shown } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/**
 * Reads one field of a custom resource, which may be older than the rules of its CRD. The reason of a failure follows the
 * name of the field, such as `is 5, not text`.
 */
export type Reader<T> = (value: unknown) => Result<T>;

type Readers = Readonly<Record<string, Reader<unknown>>>;
/** What a table of readers reads: every field may be left out. */
export type FieldsOf<R extends Readers> = {
  -readonly [F in keyof R]?: Extract<ReturnType<R[F]>, { ok: true }>['value'];
};

export function readText(value: unknown): Result<string> {
  return typeof value === 'string' && value !== ''
    ? success(value)
    : failure(`is ${kindOf(value)}, not text`);
}

const kindOf = (value: unknown) => (value === '' ? 'empty' : shown(value));

export function readBoolean(value: unknown): Result<boolean> {
  return typeof value === 'boolean' ? success(value) : failure(`is ${shown(value)}, neither true nor false`);
}

/** Most entries of a list. */
const maxEntries = 100;

/** @param first what an empty list lacks, where it would be unclear whether it means nothing or everything. */
export function listOf<T>(reader: Reader<T>, first?: string): Reader<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) return failure(`is ${shown(value)}, not a list`);
    if (value.length > maxEntries)
      return failure(`has ${value.length} entries; at most ${maxEntries} are allowed`);
    if (value.length === 0 && first !== undefined)
      return failure(`is empty; add ${first}, or remove the field`);
    const read: T[] = [];
    for (const each of value as unknown[]) {
      const entry = reader(each);
      if (!entry.ok) return failure(`has an entry that cannot be used: ${entry.reason}`);
      read.push(entry.value);
    }
    return success(read);
  };
}

const unitSeconds: Readonly<Record<string, number>> = {
  ...{ ns: 1e-9, us: 1e-6, ms: 1e-3 },
  ...{ s: 1, m: 60, h: 3600 },
};

/** A duration as Go and Kubernetes write it, such as `1h30m`; in whole seconds. */
export function duration(
  leastSeconds: number,
  least: string,
  most: { readonly seconds: number; readonly text: string } = { seconds: Number.MAX_SAFE_INTEGER, text: '' },
): Reader<number> {
  return (value) => {
    if (typeof value !== 'string' || !/^(\d{1,9}(\.\d{1,9})?([num]s|[smh]))+$/.test(value)) {
      return failure(`is ${kindOf(value)}, not a duration such as 1h30m`);
    }
    let seconds = 0;
    for (const [, count, unit = ''] of value.matchAll(/([\d.]+)([num]s|[smh])/g)) {
      seconds += Number(count) * (unitSeconds[unit] ?? 0);
    }
    if (seconds < leastSeconds) return failure(`is ${value}; at least ${least} is allowed`);
    if (seconds > most.seconds) return failure(`is ${value}; at most ${most.text} is allowed`);
    return success(Math.floor(seconds));
  };
}

/**
 * An object with the fields of a table. A field that the table does not name may restrict the others, so it is a failure.
 * The reason begins with the path of the field, such as `.url is 5, not text`.
 */
export function objectOf<R extends Readers>(readers: R): Reader<FieldsOf<R>> {
  return (value) => {
    if (!isJsonObject(value)) return failure(`is ${shown(value)}, not an object`);
    const read: Record<string, unknown> = {};
    for (const [field, each] of Object.entries(value)) {
      if (each === undefined || each === null) continue;
      const reader = Object.hasOwn(readers, field) ? readers[field] : undefined;
      if (!reader) return failure(`has ${shown(field)}, which this version of the signer does not know`);
      const result = reader(each);
      if (!result.ok) return failure(under(field, result.reason));
      read[field] = result.value;
    }
    return success(read as FieldsOf<R>);
  };
}

/** A reason with the name of the field before it. */
export function under(field: string, reason: string): string {
  return `.${field}${reason.startsWith('.') ? '' : ' '}${reason}`;
}
