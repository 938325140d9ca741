/** What a text begins with that says how its bytes are ordered, and how such a text is decoded (Unicode 23.8). */
const byteOrderMarks = [
  { bytes: [0xef, 0xbb, 0xbf], encoding: 'utf-8' },
  { bytes: [0xff, 0xfe], encoding: 'utf-16le' },
  { bytes: [0xfe, 0xff], encoding: 'utf-16be' },
] as const;

/**
 * The text of a file that a person made. Editors and shells of Windows begin a file with a byte order mark, and some
 * write UTF-16; without this, the first line of the file would not be recognised. Text without a mark is UTF-8.
 */
export function textOf(bytes: Uint8Array): string {
  // The decoder takes the mark of its own encoding away.
  return new TextDecoder(markOf(bytes)?.encoding).decode(bytes);
}

/** Whether a file begins with a byte order mark, which many readers do not know. */
export function hasByteOrderMark(bytes: Uint8Array): boolean {
  return markOf(bytes) !== undefined;
}

function markOf(bytes: Uint8Array) {
  return byteOrderMarks.find((mark) => mark.bytes.every((byte, at) => bytes[at] === byte));
}

/**
 * Text from an untrusted source, without characters that control a terminal or change how the text around them reads:
 * control and format characters (such as U+202E, right-to-left override), line and paragraph separators.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}

/** A text without its percent-encoding (RFC 3986 2.1); undefined where a % encodes nothing, or the bytes are not UTF-8. */
export function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
