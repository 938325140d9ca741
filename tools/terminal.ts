import { readFile } from 'node:fs/promises';

/** What a command has of the world outside: two streams, files and the environment. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether to mark words with colour: a person is looking and does not mind (NO_COLOR, TERM=dumb). */
  readonly hasColor: boolean;
  /** The content of a file; `-` is standard input. */
  read(file: string): Promise<Buffer>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Epoch milliseconds. */
  now(): number;
}

export function processTerminal(): Terminal {
  const { env, stdout, stderr } = process;
  let hasReader = true;
  // `kubespiffe … | head` closes the pipe early. What a command does in a cluster and its exit code do not depend on that.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (!hasReader) return;
    if (error.code !== 'EPIPE') throw error;
    hasReader = false;
    // A command that runs until it is stopped ends as at the signal, and so removes its files.
    process.emit('SIGHUP', 'SIGHUP');
  });
  // A reader of messages that is gone, or a terminal that was closed, must not end a command before it has removed its files.
  stderr.on('error', () => undefined);
  return {
    out: (line) => void (hasReader && stdout.write(line)),
    err: (line) => void stderr.write(line),
    hasColor: stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb',
    read: async (file) => (file === '-' ? readStandardInput() : readFile(file)),
    env,
    now: Date.now,
  };
}

/** Aborts at SIGTERM, at Ctrl-C, and when the terminal is closed. */
export function abortAtSignal(): AbortController {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  // A shell that ends sends it, and then the kernel sends it again.
  process.on('SIGHUP', stop);
  return stopping;
}

/** Aborts when the terminal is closed, or when nothing reads standard output any more. */
export function abortAtHangup(): AbortSignal {
  const gone = new AbortController();
  process.on('SIGHUP', () => gone.abort());
  return gone.signal;
}

/** Standard input is opened only where it is read: sidecars pay for each module. */
async function readStandardInput(): Promise<Buffer> {
  const { buffer } = await import('node:stream/consumers');
  return buffer(process.stdin);
}
