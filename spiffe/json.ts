import { failure, type Result, success } from './pki/result.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a value that was read from JSON is an object, and neither a list nor null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a JSON object, and refuses one in which a name stands twice, at any depth: readers differ in which of the
 * two they take (RFC 8259 4), so the signer of a document and its reader could see different things (RFC 7515 4,
 * RFC 7519 4). `what` names the text in the reasons, which never quote it. Never throws.
 */
export function parseJsonObject(text: string, what: string): Result<JsonObject> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return failure(`${what} is not JSON`);
  }
  if (!isJsonObject(value)) return failure(`${what} is not a JSON object`);
  if (countNames(text) !== countMembers(value)) return failure(`${what} has a name twice`);
  return success(value);
}

/** As parseJsonObject, for bytes, which have to be UTF-8 (RFC 8259 8.1). */
export function parseJsonBytes(bytes: Uint8Array, what: string): Result<JsonObject> {
  const text = utf8Text(bytes, what);
  return text.ok ? parseJsonObject(text.value, what) : text;
}

/** The text of bytes, which have to be UTF-8. A byte order mark stays. Never throws. */
export function utf8Text(bytes: Uint8Array, what: string): Result<string> {
  try {
    return success(utf8.decode(bytes));
  } catch {
    return failure(`${what} is not UTF-8`);
  }
}

/** An untrusted value for a sentence: a text in quotes and shortened; of larger values only the kind. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100));
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  return isJsonObject(value) ? 'an object' : String(value);
}

/**
 * Counts the names in a text that is known to be JSON: a string is a name if a colon follows it. A name that stands
 * twice in one object, in any escaping, becomes one member of the parsed value, so the two counts differ. Counted
 * without copying the strings, because every ServiceAccount token passes here twice.
 */
function countNames(json: string): number {
  const strings = /"[^"\\]*(?:\\.[^"\\]*)*"\s*:?/g;
  const colon = 0x3a;
  let count = 0;
  while (strings.test(json)) if (json.charCodeAt(strings.lastIndex - 1) === colon) count += 1;
  return count;
}

/** How many members the objects in a parsed value have. No recursion: a text may nest as deep as it is long. */
function countMembers(value: unknown): number {
  const open = [value];
  let count = 0;
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next !== 'object' || next === null) continue;
    const inner: unknown[] = Array.isArray(next) ? next : Object.values(next);
    if (!Array.isArray(next)) count += inner.length;
    for (const each of inner) if (typeof each === 'object') open.push(each);
  }
  return count;
}
