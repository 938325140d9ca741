import pino from 'pino';

export const logLevels = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof logLevels)[number];

/** A structured logger: one JSON object a line, with an ISO time and the level's name. `childOf` makes children. */
export type Logger = Pick<pino.Logger, LogLevel | 'fatal' | 'level' | 'child' | 'on'>;

/** What most parts need of a logger: lines with fields, at these levels. */
export type Log<Level extends LogLevel> = Readonly<Record<Level, (fields: object, message: string) => void>>;

/** Where log lines go. */
export type LogDestination = pino.DestinationStream;

/** Makes the logger of a process. Nothing is redacted, because no key and no token is ever handed to it. */
export function createLogger(options: { level: LogLevel; destination: LogDestination }): Logger {
  const logger: pino.Logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination,
  );
  return logger;
}

/** A logger whose lines have these fields too. It follows when the level of its parent changes; a child of pino does not. */
export function childOf(parent: Logger, fields: object): Logger {
  const child = parent.child(fields);
  parent.on('level-change', (level, _value, _before, _valueBefore, changed) => {
    if (changed === parent) child.level = level;
  });
  return child;
}
