import { createByteBuffer } from '../../client/byte-buffer.ts';
import { withoutFieldSets } from './field-sets.ts';
import { createJsonReader, type Fields, parse, pickFields } from './json-reader.ts';

/** One watch event, with the members read of its object; for ERROR the object is a meta/v1 Status. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

/**
 * Longest event of a watch, in bytes. An object of 1.5 MiB in etcd, its default limit, can have 9 MiB of JSON: six
 * bytes for each `<`.
 */
const maxLineBytes = 32 * 1024 * 1024;

/** Shorter events are parsed at once, which costs half as much. Longer ones are read piece by piece: see createJsonReader. */
const shortLineBytes = 32 * 1024;

const newline = 0x0a;
const types = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);
/** The members read of the Status in an ERROR event. */
const statusFields = { message: true, reason: true, code: true, details: true } as const;

/**
 * Reads the body of a watch, whose lines are JSON. A line may come in many chunks, and a chunk may hold many lines.
 *
 * @param fields the members to read of each object.
 * @returns a function that takes a chunk and passes each completed event to `emit`. It throws when a line is
 * too long or is not an event, after the events before it.
 */
export function createLineReader(fields: Fields, emit: (event: WatchEvent) => void): (chunk: Buffer) => void {
  const eventFields = {
    type: true,
    object: fields === true ? fields : { ...statusFields, ...fields },
  } as const;
  const reader = createJsonReader(eventFields);
  /** The line so far, while it is short. */
  const short = createByteBuffer();
  let lineBytes = 0;

  function take(chunk: Buffer, start: number, end: number): void {
    lineBytes += end - start;
    if (lineBytes > maxLineBytes) throw new Error(`a watch event is longer than ${maxLineBytes} bytes`);
    if (lineBytes <= shortLineBytes) {
      short.append(chunk, start, end);
      return;
    }
    asJson(() => {
      reader.push(short.bytes());
      reader.push(chunk, start, end);
    });
    short.truncate(0);
  }

  function endLine(): unknown {
    const isShort = lineBytes <= shortLineBytes;
    const text = isShort ? withoutFieldSets(short.bytes()) : '';
    short.truncate(0);
    lineBytes = 0;
    return asJson(() => (isShort ? pickFields(parse(text), eventFields) : reader.end()));
  }

  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      take(chunk, start, end);
      start = end + 1;
      if (lineBytes > 0) emit(readEvent(endLine()));
    }
    take(chunk, start, chunk.length);
  };
}

function asJson<T>(read: () => T): T {
  try {
    return read();
  } catch {
    throw new Error('a line of the watch is not JSON');
  }
}

function readEvent(event: unknown): WatchEvent {
  const { type, object } = (event ?? {}) as { type?: unknown; object?: unknown };
  if (typeof type !== 'string' || !types.has(type) || typeof object !== 'object' || object === null) {
    throw new Error('a line of the watch is not a watch event');
  }
  return event as WatchEvent;
}
