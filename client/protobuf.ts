import { failure, type Result, success } from '../spiffe/pki/result.ts';

/** The fields of a message by number. All that the Workload API sends is text, bytes or messages. */
export type Fields = ReadonlyMap<number, readonly Buffer[]>;

const wireTypes = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const;

/**
 * Reads the length-delimited fields of a protobuf message, views and no copies. Numbers are passed over, as a reader does with
 * fields that it does not know. Never throws.
 */
export function readFields(message: Buffer): Result<Fields> {
  const fields = new Map<number, Buffer[]>();
  let at = 0;
  /** Undefined for a number that is not complete, or larger than a length or tag can be. */
  const varint = (): number | undefined => {
    let value = 0;
    for (let shift = 1; shift < 2 ** 70; shift *= 128) {
      const byte = message[at++];
      if (byte === undefined) return undefined;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  };
  while (at < message.length) {
    const tag = varint();
    if (tag === undefined || tag > 0xffff_ffff) return failure('a protobuf tag is not complete');
    const number = Math.floor(tag / 8);
    let length: number | undefined;
    if (tag % 8 === wireTypes.lengthDelimited) length = varint();
    else if (tag % 8 === wireTypes.varint) length = varint() === undefined ? undefined : 0;
    else if (tag % 8 === wireTypes.fixed64) length = 8;
    else if (tag % 8 === wireTypes.fixed32) length = 4;
    if (length === undefined || number === 0 || at + length > message.length) {
      return failure(`the protobuf field ${number} is not complete, or has an unknown form`);
    }
    if (tag % 8 === wireTypes.lengthDelimited) {
      const value = message.subarray(at, at + length);
      const values = fields.get(number);
      if (values) values.push(value);
      else fields.set(number, [value]);
    }
    at += length;
  }
  return success(fields);
}

/** A protobuf message of texts, in the order in which they are given. */
export function writeTexts(texts: readonly (readonly [number: number, text: string])[]): Buffer {
  return Buffer.concat(
    texts.flatMap(([number, text]) => {
      const bytes = Buffer.from(text);
      return [varintOf(number * 8 + wireTypes.lengthDelimited), varintOf(bytes.length), bytes];
    }),
  );
}

function varintOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}
