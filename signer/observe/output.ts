import { writeSync } from 'node:fs';

export type Stream = 'log' | 'audit';

/**
 * How much may wait for standard output, in characters, before lines of a stream are dropped. Both streams share the
 * output. Log lines are dropped first, so that audit lines have room that no log line takes.
 */
const mayWait = { log: 1024 * 1024, audit: 4 * 1024 * 1024 } as const;

/** How soon an output that took nothing is tried again, in milliseconds. */
const retryAfterMs = 20;
/** How long a process that ends waits for its output, in milliseconds. */
const flushAtExitMs = 1000;

/**
 * Standard output of this process. Lines are written once per turn of the event loop: a burst confirms many decisions in
 * one turn, and a write of each line by itself would cost more than making it. Lines that the output does not take are
 * kept up to a limit, and those above it are counted. A process that ends by itself writes what is left; one that is
 * killed may lose the lines of its last turn.
 */
export function standardOutput(): Output {
  // Node opens a pipe or socket as a stream without blocking, for every writer of this file descriptor. Then a write
  // fails with EAGAIN when nobody reads, and does not stop the event loop.
  void process.stdout;
  const output = createOutput((bytes) => writeSync(1, bytes));
  process.on('exit', output.log.flushSync);
  return output;
}

/**
 * Where log and audit lines go. A line is kept or dropped; writing it never waits.
 *
 * @param write writes some bytes and returns how many; throws when it can write none now.
 */
export function createOutput(write: (bytes: Buffer) => number) {
  const listeners: ((stream: Stream) => void)[] = [];
  let dropped = { log: 0, audit: 0 };
  let lines = '';
  /** What is being written, and may begin within a line. */
  let rest: Buffer = Buffer.alloc(0);
  let isScheduled = false;

  /** Writes what the output takes now. @returns whether that was everything. */
  function writeNow(): boolean {
    for (;;) {
      if (rest.length === 0) {
        if (lines === '') return true;
        rest = Buffer.from(lines + reportOfDropped());
        lines = '';
      }
      try {
        rest = rest.subarray(write(rest));
      } catch {
        // EAGAIN where nobody reads, ENOSPC where a disk is full: both may pass.
        return false;
      }
    }
  }

  function flush(): void {
    isScheduled = false;
    if (writeNow()) return;
    isScheduled = true;
    setTimeout(flush, retryAfterMs).unref();
  }

  /** A line that says what is missing before it. */
  function reportOfDropped(): string {
    const { log, audit } = dropped;
    if (log + audit === 0) return '';
    dropped = { log: 0, audit: 0 };
    const msg = 'standard output was blocked: lines were dropped';
    const line = {
      level: 'warn',
      time: new Date().toISOString(),
      droppedLogLines: log,
      droppedAuditLines: audit,
    };
    return `${JSON.stringify({ ...line, msg })}\n`;
  }

  function add(stream: Stream, line: string): void {
    if (lines.length + rest.length + line.length > mayWait[stream]) {
      dropped[stream] += 1;
      for (const listener of listeners) listener(stream);
      return;
    }
    lines += line;
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(flush);
  }

  function flushSync(): void {
    const giveUpAt = performance.now() + flushAtExitMs;
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    while (!writeNow() && performance.now() < giveUpAt) Atomics.wait(sleeper, 0, 0, retryAfterMs);
  }

  return {
    log: { write: (line: string) => add('log', line), flushSync },
    audit: { write: (line: string) => add('audit', line) },
    /** Calls `listener` for each line that is dropped. */
    onDropped: (listener: (stream: Stream) => void) => void listeners.push(listener),
  };
}

export type Output = ReturnType<typeof createOutput>;
