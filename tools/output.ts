import { X509Certificate } from 'node:crypto';
import type { Option } from 'commander';
import { stringify } from 'yaml';
import { choice } from './command.ts';
import type { Terminal } from './terminal.ts';

export { fromNow, span } from './span.ts';

/** The value of `-o`. */
export type OutputFormat = 'json' | 'yaml';

export interface OutputOptions {
  output?: OutputFormat;
}

/** The option that every command has whose output a program may read. */
export function outputOption(description = 'Print for programs.'): Option {
  return choice('-o, --output <format>', description, ['json', 'yaml']);
}

/** One object for programs. */
export function printObject(terminal: Terminal, format: OutputFormat, value: unknown): void {
  terminal.out(
    format === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : stringify(value, { lineWidth: 0 }),
  );
}

/** Columns as kubectl prints them: three spaces apart, the last one ragged. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('');
}

const marks = { good: 32, bad: 31, doubtful: 33, title: 1 } as const;

/** Marks a text with colour, at a terminal. */
export function mark(terminal: Terminal, as: keyof typeof marks, text: string): string {
  return terminal.hasColor ? `\u001b[${marks[as]}m${text}\u001b[0m` : text;
}

/** A number with its noun. @param several where it is not made with an s. */
export function counted(count: number, one: string, several = `${one}s`): string {
  return `${count} ${count === 1 ? one : several}`;
}

/** A fingerprint as openssl and browsers write it. */
export function colons(hex: string): string {
  return hex.toUpperCase().match(/../g)?.join(':') ?? '';
}

/** The subject of a certificate in one line. node:crypto writes one part a line, and undefined for an empty name. */
export function subjectText({ der }: { readonly der: Uint8Array }): string {
  return new X509Certificate(der).subject?.replaceAll('\n', ', ') ?? '';
}
