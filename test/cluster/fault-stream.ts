import type { SeenRequest } from './fault-rules.ts';

/** An answer under way from the server to the client, on which a test may lay its hand. */
export interface AnswerStream {
  readonly request: SeenRequest;
  /** Complete lines passed so far: events, when it is a watch. */
  events(): number;
  /** From now on nothing passes any more; the connection stays open and answers HTTP/2 pings. */
  silence(): void;
  /** Puts bytes of the test's own between the server's. */
  send(text: string): void;
  /** Sends half an event, then breaks the TCP connection. */
  cutMidEvent(): void;
  /** Ends the answer in good order, as the server does after a while with each watch. */
  end(): void;
}

/** What an answer is written to; both kinds of node:http response fit. */
export interface Sink {
  write(chunk: Uint8Array | string): boolean;
  end(): unknown;
}

export interface Passage extends AnswerStream {
  /** Gives on what came from the server; false when the client cannot take more for now. */
  pass(chunk: Buffer): boolean;
  /** The server has ended the answer. */
  finish(): void;
}

/**
 * Passes an answer on until its limit: with `cut` or `silent`, after that many lines. `breakOnceRead` resets
 * the client's TCP connection as soon as the client has read what was sent.
 */
export function createPassage(
  request: SeenRequest,
  sink: Sink,
  breakOnceRead: () => void,
  limit: { kind: 'cut' | 'silent'; afterEvents: number } | undefined,
): Passage {
  let events = 0;
  let state: 'open' | 'silent' | 'done' =
    limit?.kind === 'silent' && limit.afterEvents === 0 ? 'silent' : 'open';

  const cut = (rest: Uint8Array | string) => {
    if (state === 'done') return;
    state = 'done';
    sink.write(rest);
    breakOnceRead();
  };
  const passLimited = (chunk: Buffer, most: { kind: 'cut' | 'silent'; afterEvents: number }): boolean => {
    let from = 0;
    while (events < most.afterEvents) {
      const newline = chunk.indexOf(10, from);
      if (newline < 0) return sink.write(chunk);
      events += 1;
      from = newline + 1;
    }
    if (from > 0) sink.write(chunk.subarray(0, from));
    if (most.kind === 'silent') state = 'silent';
    else if (from < chunk.length) {
      const newline = chunk.indexOf(10, from);
      const end = newline < 0 ? chunk.length : newline;
      cut(chunk.subarray(from, from + Math.ceil((end - from) / 2)));
    }
    return true;
  };
  return {
    request,
    events: () => events,
    pass: (chunk) => {
      if (state !== 'open') return true;
      if (limit) return passLimited(chunk, limit);
      events += countLines(chunk);
      return sink.write(chunk);
    },
    finish: () => {
      if (state === 'open') sink.end();
      if (state === 'open') state = 'done';
    },
    silence: () => {
      if (state === 'open') state = 'silent';
    },
    send: (text) => void sink.write(text),
    cutMidEvent: () => cut('{"type":"MODIFIED","object":{"apiVersion":'),
    end: () => {
      state = 'done';
      sink.end();
    },
  };
}

function countLines(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines += 1;
  return lines;
}
