/** Bytes that are collected piece by piece. Each piece is copied, so that many small ones cost no more than their bytes. */
export interface ByteBuffer {
  readonly length: number;
  append(bytes: Buffer, start?: number, end?: number): void;
  appendByte(byte: number): void;
  /** Characters up to U+00FF. */
  appendLatin1(text: string): void;
  /** The bytes so far; good until the next change. */
  bytes(): Buffer;
  /** The bytes from `start` on as UTF-8. */
  text(start?: number): string;
  /** Keeps the first `length` bytes. */
  truncate(length: number): void;
}

const firstSize = 1024;

export function createByteBuffer(): ByteBuffer {
  let buffer = Buffer.alloc(0);
  let length = 0;

  function reserve(more: number): void {
    if (length + more <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(firstSize, 2 * buffer.length, length + more));
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  }

  return {
    get length() {
      return length;
    },
    append(bytes, start = 0, end = bytes.length) {
      reserve(end - start);
      length += bytes.copy(buffer, length, start, end);
    },
    appendByte(byte) {
      reserve(1);
      buffer[length] = byte;
      length += 1;
    },
    appendLatin1(text) {
      reserve(text.length);
      length += buffer.write(text, length, 'latin1');
    },
    bytes: () => buffer.subarray(0, length),
    text: (start = 0) => buffer.toString('utf8', start, length),
    truncate(to) {
      length = to;
      // One large object must not hold its memory for as long as a watch lasts.
      if (length === 0 && buffer.length > 64 * firstSize) buffer = Buffer.alloc(0);
    },
  };
}
