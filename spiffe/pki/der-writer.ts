import { tags } from './der.ts';
import { encodeOid } from './oid.ts';

/** Number of octets that identifier and length octets take in front of `length` content octets. */
export function headerLength(length: number): number {
  if (length < 0x80) return 2;
  if (length < 0x100) return 3;
  if (length < 0x1_0000) return 4;
  return length < 0x100_0000 ? 5 : 6;
}

/** Number of octets of an element with `contentLength` content octets. */
export function elementLength(contentLength: number): number {
  return headerLength(contentLength) + contentLength;
}

/** Writes identifier and length octets at `offset`; returns the offset of the content. */
export function writeHeader(target: Uint8Array, offset: number, tag: number, length: number): number {
  target[offset] = tag;
  const content = offset + headerLength(length);
  if (length < 0x80) {
    target[offset + 1] = length;
    return content;
  }
  target[offset + 1] = 0x80 | (content - offset - 2);
  for (let at = content - 1, rest = length; at > offset + 1; at--, rest = Math.floor(rest / 256)) {
    target[at] = rest % 256;
  }
  return content;
}

/** One element: tag, length and the given contents one after another. */
export function encode(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  const target = Buffer.allocUnsafe(headerLength(length) + length);
  let offset = writeHeader(target, 0, tag, length);
  for (const content of contents) {
    target.set(content, offset);
    offset += content.length;
  }
  return target;
}

export function sequence(...contents: readonly Uint8Array[]): Buffer {
  return encode(tags.sequence, ...contents);
}

/** OBJECT IDENTIFIER of a dotted name. */
export function objectIdentifier(dotted: string): Buffer {
  return encode(tags.oid, encodeOid(dotted));
}

export function octetString(content: Uint8Array): Buffer {
  return encode(tags.octetString, content);
}

/** BIT STRING of whole octets. */
export function bitString(octets: Uint8Array): Buffer {
  return encode(tags.bitString, Uint8Array.of(0), octets);
}

export const derNull: Uint8Array = Uint8Array.of(tags.null, 0);
export const derTrue: Uint8Array = Uint8Array.of(tags.boolean, 1, 0xff);
