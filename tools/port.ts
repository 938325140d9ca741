import { usageError } from './errors.ts';

/** Reads the value of --port. @throws CliError USAGE */
export function parsePort(text: string, hint: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw usageError(`--port ${text} is not a port`, hint);
}
