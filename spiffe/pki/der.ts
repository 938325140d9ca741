import { KubespiffeError } from '../errors.ts';
import { failure, type Result, success } from './result.ts';

/**
 * A strict reader of DER (X.690 section 10). Elements are offsets into the one array they came from: nothing is
 * copied until it is needed. Inside `pki` the reader throws; `readDer` turns that into a Result at the edge.
 *
 * The reader never recurses. How deep a parser goes is written out in that parser, so nested input cannot
 * exhaust the stack.
 */
export interface Element {
  readonly bytes: Uint8Array;
  /** The identifier octet, for example 0x30 for a SEQUENCE. */
  readonly tag: number;
  /** Offset of the identifier octet. */
  readonly start: number;
  readonly contentStart: number;
  /** Offset behind the last content octet. */
  readonly end: number;
}

/** Identifier octets of the universal types that certificates and requests use. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific tag [number], constructed unless said otherwise. */
export function contextTag(number: number, form: 'constructed' | 'primitive' = 'constructed'): number {
  return (form === 'constructed' ? 0xa0 : 0x80) | number;
}

/** Raised by the reader and caught by `readDer`; the message is a clause without a full stop. */
export function derError(reason: string): KubespiffeError {
  return new KubespiffeError('DER_INVALID', reason);
}

/** Runs a parser that uses the reader and turns a DER_INVALID error into a failure. */
export function readDer<T>(parse: () => T): Result<T> {
  try {
    return success(parse());
  } catch (error) {
    if (error instanceof KubespiffeError && error.code === 'DER_INVALID') return failure(error.message);
    throw error;
  }
}

/** Reads one element at an offset; it must end at or before `limit`. */
function elementAt(bytes: Uint8Array, offset: number, limit: number): Element {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined || offset + 2 > limit) throw derError('truncated');
  if ((tag & 0x1f) === 0x1f) throw derError('a tag number above 30');
  if (first === 0x80) throw derError('an indefinite length');
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (count > 4) throw derError('a length of more than four octets');
  const contentStart = offset + 2 + count;
  if (contentStart > limit) throw derError('truncated');
  let length = count === 0 ? first : 0;
  for (let at = offset + 2; at < contentStart; at++) length = length * 256 + (bytes[at] ?? 0);
  // DER wants the shortest form: no leading zero octet, and the short form below 128.
  if (count > 0 && (bytes[offset + 2] === 0 || length < 0x80)) {
    throw derError('a length that is not in its shortest form');
  }
  const end = contentStart + length;
  if (end > limit) throw derError('truncated');
  return { bytes, tag, start: offset, contentStart, end };
}

/**
 * Views of the elements that stand one after another, such as certificates in the messages of the SPIFFE Workload API.
 * @throws DER_INVALID.
 */
export function splitDer(bytes: Uint8Array): Uint8Array[] {
  return elementsIn(bytes, 0, bytes.length).map(derOf);
}

/** Reads bytes that hold exactly one element of the given tag. */
export function soleElement(bytes: Uint8Array, tag: number, what: string): Element {
  const element = elementAt(bytes, 0, bytes.length);
  expectTag(element, tag, what);
  if (element.end !== bytes.length) throw derError('trailing bytes');
  return element;
}

export function expectTag(element: Element, tag: number, what: string): void {
  if (element.tag !== tag) throw derError(`${what} has tag ${hexTag(element.tag)} instead of ${hexTag(tag)}`);
}

function hexTag(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}

/** A view of the content octets. */
export function contentOf(element: Element): Uint8Array {
  return element.bytes.subarray(element.contentStart, element.end);
}

/** A view of the whole element, identifier and length octets included. */
export function derOf(element: Element): Uint8Array {
  return element.bytes.subarray(element.start, element.end);
}

/** Walks the elements inside a constructed element, in order. */
export function cursor(parent: Element) {
  const { bytes, end: limit } = parent;
  let offset = parent.contentStart;
  /** The next element, with any tag. */
  const any = (what: string): Element => {
    if (offset >= limit) throw derError(`${what} is missing`);
    const element = elementAt(bytes, offset, limit);
    offset = element.end;
    return element;
  };
  return {
    /** The tag of the next element, or undefined at the end. */
    peek: (): number | undefined => (offset < limit ? bytes[offset] : undefined),
    /** The next element; `what` names it in the error when it is missing or of another tag. */
    next: (tag: number, what: string): Element => {
      const element = any(what);
      expectTag(element, tag, what);
      return element;
    },
    any,
    /** Throws when something is left. */
    end: (what: string): void => {
      if (offset !== limit) throw derError(`${what} has more elements than it should`);
    },
  };
}

/** All elements inside a constructed element. */
export function childrenOf(parent: Element): Element[] {
  return elementsIn(parent.bytes, parent.contentStart, parent.end);
}

function elementsIn(bytes: Uint8Array, start: number, end: number): Element[] {
  const list: Element[] = [];
  for (let offset = start; offset < end; ) {
    const element = elementAt(bytes, offset, end);
    list.push(element);
    offset = element.end;
  }
  return list;
}

/** BOOLEAN: DER knows only 0x00 and 0xff. */
export function booleanOf(element: Element): boolean {
  expectTag(element, tags.boolean, 'a BOOLEAN');
  const value = element.bytes[element.contentStart];
  if (element.end - element.contentStart !== 1 || (value !== 0 && value !== 0xff)) {
    throw derError('a BOOLEAN that is neither 0x00 nor 0xff');
  }
  return value === 0xff;
}

/** INTEGER content, checked to be in its shortest form; two's complement, big endian. */
export function integerContent(element: Element, what: string): Uint8Array {
  expectTag(element, tags.integer, what);
  const content = contentOf(element);
  const [first, second] = content;
  if (first === undefined) throw derError(`${what} is an empty INTEGER`);
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) {
    throw derError(`${what} is not in its shortest form`);
  }
  return content;
}

/** INTEGER as a number from 0 to 2^31 - 1. */
export function smallInteger(element: Element, what: string): number {
  const content = integerContent(element, what);
  if (content.length > 4 || (content[0] ?? 0) >= 0x80) throw derError(`${what} is out of range`);
  return content.reduce((value, octet) => value * 256 + octet, 0);
}

/** The magnitude of a positive INTEGER, without a sign octet. */
export function positiveInteger(element: Element, what: string): Uint8Array {
  const content = integerContent(element, what);
  const first = content[0] ?? 0;
  if (first >= 0x80) throw derError(`${what} is negative`);
  if (first !== 0) return content;
  if (content.length === 1) throw derError(`${what} is zero`);
  return content.subarray(1);
}

/** The octets of a BIT STRING that has no unused bits, as keys and signatures have. */
export function bitStringOctets(element: Element, what: string): Uint8Array {
  expectTag(element, tags.bitString, what);
  if (element.bytes[element.contentStart] !== 0 || element.end === element.contentStart) {
    throw derError(`${what} is not a whole number of octets`);
  }
  return element.bytes.subarray(element.contentStart + 1, element.end);
}
