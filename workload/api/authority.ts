import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Length of what each client of HTTP/2 sends first (RFC 9113 3.4), in bytes. */
export const prefaceLength = 24;
const frameHeaderLength = 9;
const headersFrame = 1;
const flags = { padded: 0x08, priority: 0x20 };
/** SETTINGS_MAX_FRAME_SIZE as the server has it. */
const maxFrameLength = 16_384;
/** Index of :authority in the static table (RFC 7541 appendix A). */
const authorityIndex = 1;

/**
 * A connection whose requests may have the path of the Unix socket as `:authority`, as gRPC for Java sends it. nghttp2, the
 * HTTP/2 library of Node.js, refuses each request with a slash in it (RFC 3986 3.2), so slashes become hyphens, which change
 * no length. Nothing reads `:authority`.
 */
export function withValidAuthority(socket: Socket): Duplex {
  const repair = createRepair();
  const connection = new Duplex({
    read: () => void socket.resume(),
    write: (chunk, _encoding, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk) => {
    const repaired = repair(chunk);
    if (repaired.length > 0 && !connection.push(repaired)) socket.pause();
  });
  socket.on('end', () => connection.push(null));
  socket.on('error', (error) => connection.destroy(error));
  socket.on('close', () => connection.destroy());
  return connection;
}

/** Reads the frames of a connection, however they are cut, and holds back no more than one HEADERS frame (RFC 9113 4.1). */
export function createRepair(): (chunk: Buffer) => Buffer {
  /** Bytes that go on as they are: the rest of a frame that is not looked into. */
  let passing = prefaceLength;
  let held: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    let at = 0;
    for (;;) {
      const passed = Math.min(passing, bytes.length - at);
      passing -= passed;
      at += passed;
      if (bytes.length - at < frameHeaderLength) break;
      const length = bytes.readUIntBE(at, 3);
      const isHeaders = bytes[at + 3] === headersFrame && length <= maxFrameLength;
      if (!isHeaders) {
        passing = frameHeaderLength + length;
        continue;
      }
      const end = at + frameHeaderLength + length;
      if (end > bytes.length) break;
      repairAuthority(bytes, at, end);
      at = end;
    }
    held = bytes.subarray(at);
    return bytes.subarray(0, at);
  };
}

/** Walks the fields of a HEADERS frame up to `:authority`, which is among the first (RFC 7541 6, RFC 9113 6.2). */
function repairAuthority(bytes: Buffer, start: number, end: number): void {
  const set = bytes[start + 4] ?? 0;
  let at = start + frameHeaderLength;
  if (set & flags.padded) at += 1;
  if (set & flags.priority) at += 5;

  const integer = (prefixBits: number): number => {
    const mask = 2 ** prefixBits - 1;
    let value = (bytes[at] ?? 0) & mask;
    at += 1;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21 && at < end; shift += 7) {
      const octet = bytes[at] ?? 0;
      at += 1;
      value += (octet & 0x7f) * 2 ** shift;
      if (octet < 0x80) break;
    }
    return value;
  };

  const skip = (length: number) => {
    at += length;
  };

  while (at < end) {
    const first = bytes[at] ?? 0;
    if (first >= 0x80) {
      integer(7);
      continue;
    }
    if (first >= 0x20 && first < 0x40) {
      integer(5);
      continue;
    }
    const name = integer(first >= 0x40 ? 6 : 4);
    if (name === 0) skip(integer(7));
    // Strings of this length are not compressed by gRPC for Java (Huffman code, RFC 7541 5.2).
    const isCompressed = (bytes[at] ?? 0) >= 0x80;
    const length = integer(7);
    if (name === authorityIndex && !isCompressed) {
      for (let each = at; each < Math.min(at + length, end); each += 1) {
        if (bytes[each] === 0x2f) bytes[each] = 0x2d;
      }
      return;
    }
    skip(length);
  }
}
