import pino from 'pino';

/** A structured logger: one JSON object a line, with an ISO time and the level's name. */
export type Logger = pino.Logger;

export const logLevels = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Where log lines go; standard output when it is left out. */
export type LogDestination = pino.DestinationStream;

/**
 * Standard output, written once per turn of the event loop: a burst confirms many decisions in one turn, and a write
 * of each line by itself would cost more than making it. What a process that ends by itself has said is written; one
 * that is killed may lose the lines of its last turn.
 */
export function standardOutput(): LogDestination & { flushSync(): void } {
  const output = pino.destination({ fd: 1, sync: true });
  let lines = '';
  const flush = () => {
    const said = lines;
    lines = '';
    if (said !== '') output.write(said);
  };
  process.on('exit', flush);
  return {
    write(line) {
      if (lines === '') setImmediate(flush);
      lines += line;
    },
    flushSync: flush,
  };
}

/**
 * Makes the logger of a process. Nothing is redacted, because no key and no token is ever handed to it.
 * Setting `level` on the returned logger takes effect on the children made from it too, so that debugging can be
 * switched on in a running signer.
 */
export function createLogger(options: { level: LogLevel; destination?: LogDestination }): Logger {
  const children = new Set<WeakRef<Logger>>();
  const forgotten = new FinalizationRegistry<WeakRef<Logger>>((child) => children.delete(child));

  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      onChild(child) {
        const reference = new WeakRef<Logger>(child);
        children.add(reference);
        forgotten.register(child, reference);
      },
    },
    options.destination ?? standardOutput(),
  );

  // pino copies the level into a child when it is made. Children share the listener, hence the check.
  log.on('level-change', (level, _value, _previousLevel, _previousValue, changed) => {
    if (changed !== log) return;
    for (const reference of children) {
      const child = reference.deref();
      if (child) child.level = level;
    }
  });
  return log;
}
