import { failure, type Result, success } from '../pki/result.ts';

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
  if (hasRepeatedName(text)) return failure(`${what} has a name twice`);
  return success(value);
}

/** As parseJsonObject, for bytes, which have to be UTF-8 (RFC 8259 8.1). */
export function parseJsonBytes(bytes: Uint8Array, what: string): Result<JsonObject> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return failure(`${what} is not UTF-8`);
  }
  return parseJsonObject(text, what);
}

/** Walks the tokens of a text that is known to be JSON: a string is a name where a colon follows it. */
function hasRepeatedName(json: string): boolean {
  const open: Set<string>[] = [];
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (token.endsWith(':')) {
      const names = open.at(-1);
      // Escapes are undone first: "a" and "\u0061" are the same name.
      const name: unknown = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1));
      if (names?.has(String(name))) return true;
      names?.add(String(name));
    }
  }
  return false;
}
