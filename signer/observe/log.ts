import pino from 'pino';

export const logLevels = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * A structured logger: one JSON object a line, with an ISO time and the level's name. It makes no children: a new level
 * in a running signer would not reach them.
 */
export type Logger = Pick<pino.Logger, LogLevel | 'fatal' | 'level'>;

/** Where log lines go. */
export type LogDestination = pino.DestinationStream;

/** Makes the logger of a process. Nothing is redacted, because no key and no token is ever handed to it. */
export function createLogger(options: { level: LogLevel; destination: LogDestination }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination,
  );
}
