import { withoutFieldSets } from './field-sets.ts';

/**
 * One event of a watch. `object` is as the server sent it, but for the content of `fieldsV1` in managedFields; for ERROR it
 * is a meta/v1 Status.
 */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

/** Longest event of a watch, in bytes: etcd keeps no object above 1.5 MiB by default. */
const maxLineBytes = 4 * 1024 * 1024;

const newline = 0x0a;
const types = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

/**
 * Cuts the body of a watch into its lines of JSON. A line may come in many chunks, and a chunk may hold many lines.
 *
 * @returns a function that takes a chunk and gives each event that it completes to `emit`. It throws when a line is
 * too long or is not an event, after the events before it.
 */
export function createLineReader(emit: (event: WatchEvent) => void): (chunk: Buffer) => void {
  let pending: Buffer[] = [];
  let pendingBytes = 0;

  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const part = chunk.subarray(start, end);
      start = end + 1;
      let line = part;
      if (pendingBytes > 0) {
        line = Buffer.concat([...pending, part]);
        pending = [];
        pendingBytes = 0;
      }
      if (line.length > 0) emit(readEvent(line));
    }
    const rest = chunk.length - start;
    if (rest > 0) {
      pending.push(chunk.subarray(start));
      pendingBytes += rest;
      if (pendingBytes > maxLineBytes) throw new Error(`a watch event is longer than ${maxLineBytes} bytes`);
    }
  };
}

function readEvent(line: Buffer): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(withoutFieldSets(line));
  } catch {
    // The parser's own message quotes the text, which may be a Secret.
    throw new Error('a line of the watch is not JSON');
  }
  const { type, object } = (event ?? {}) as { type?: unknown; object?: unknown };
  if (typeof type !== 'string' || !types.has(type) || typeof object !== 'object' || object === null) {
    throw new Error('a line of the watch is not a watch event');
  }
  return event as WatchEvent;
}
