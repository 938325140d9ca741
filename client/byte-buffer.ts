const firstSize = 1024;

export type ByteBuffer = ReturnType<typeof createByteBuffer>;

/** Bytes that are collected piece by piece. Each piece is copied, so that many small ones cost no more than their bytes. */
export function createByteBuffer() {
  let buffer: Buffer = Buffer.alloc(0);
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
    append(bytes: Buffer, start = 0, end = bytes.length): void {
      reserve(end - start);
      length += bytes.copy(buffer, length, start, end);
    },
    appendByte(byte: number): void {
      reserve(1);
      buffer[length] = byte;
      length += 1;
    },
    /** Characters up to U+00FF. */
    appendLatin1(text: string): void {
      reserve(text.length);
      length += buffer.write(text, length, 'latin1');
    },
    /** The bytes so far; good until the next change. */
    bytes: (): Buffer => buffer.subarray(0, length),
    /** The bytes from `start` on as UTF-8. */
    text: (start = 0): string => buffer.toString('utf8', start, length),
    /** Keeps the first `to` bytes. */
    truncate(to: number): void {
      length = to;
      // One large object must not hold its memory for as long as a watch lasts.
      if (length === 0 && buffer.length > 64 * firstSize) buffer = Buffer.alloc(0);
    },
  };
}
