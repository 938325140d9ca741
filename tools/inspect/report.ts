import type { Finding } from '../../spiffe/clauses.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { mark, type OutputFormat, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import type { ShownExtension } from './contents.ts';

/** One thing of what was inspected: a certificate, a key, a request. */
export interface Section {
  readonly title: string;
  /** What it says, in the order in which it is shown. */
  readonly facts: Readonly<Record<string, string>>;
  readonly extensions?: readonly ShownExtension[];
  readonly findings: readonly Finding[];
}

export interface Inspection {
  /** What it is, such as `credential bundle`. */
  readonly kind: string;
  readonly sections: readonly Section[];
  /** The result if there was nothing to check. */
  readonly result?: string;
}

/** The result of one clause for what was inspected; without a problem it is fulfilled. */
export function finding(
  level: Finding['level'],
  clause: string,
  demand: string,
  problem: string | false | undefined,
): Finding {
  return { level, clause, ok: !problem, message: problem || demand };
}

/** The same with findings about the whole, which come first. */
export function withFirst(inspection: Inspection, findings: readonly Finding[]): Inspection {
  const [first, ...others] = inspection.sections;
  if (!first) return inspection;
  const section = { ...first, findings: [...findings, ...first.findings] };
  return { ...inspection, sections: [section, ...others] };
}

/** Whether no MUST is broken. */
export function conforms(inspection: Inspection): boolean {
  return broken(inspection, 'must').length === 0;
}

function broken(inspection: Inspection, level: Finding['level']): Finding[] {
  return inspection.sections.flatMap((section) =>
    section.findings.filter((each) => !each.ok && each.level === level),
  );
}

/**
 * Prints what it says, whether it conforms, and what is wrong; for programs every clause, fulfilled or not. What is
 * inspected is untrusted: its texts neither control the terminal nor begin a line.
 */
export function printInspection(
  terminal: Terminal,
  inspection: Inspection,
  source: string,
  format: OutputFormat | undefined,
): void {
  if (format) {
    const { kind, sections } = inspection;
    printObject(terminal, format, { source, kind, conforms: conforms(inspection), sections });
    return;
  }
  terminal.out(`${mark(terminal, 'title', source)}: ${inspection.kind}\n`);
  for (const section of inspection.sections) {
    terminal.out(`\n${printable(section.title)}\n`);
    const names = Object.keys(section.facts);
    const width = Math.max(...names.map((name) => name.length), 10);
    for (const name of names) {
      terminal.out(`  ${printable(name).padEnd(width)}   ${printable(section.facts[name] ?? '')}\n`);
    }
    for (const [index, { name, critical, value }] of (section.extensions ?? []).entries()) {
      const label = index === 0 ? 'Extensions' : '';
      const line = `${name}${critical ? ' (critical)' : ''}: ${value}`;
      terminal.out(`  ${label.padEnd(width)}   ${printable(line)}\n`);
    }
    if (section.findings.length > 0) printFindings(terminal, section.findings, width);
  }
  const must = broken(inspection, 'must').length;
  if (must === 0 && inspection.result !== undefined) {
    terminal.out(`\nResult: ${mark(terminal, 'doubtful', printable(inspection.result))}\n`);
    return;
  }
  const should = broken(inspection, 'should').length;
  const verdict = must === 0 ? mark(terminal, 'good', 'conforms') : mark(terminal, 'bad', 'does not conform');
  const counts = [must > 0 ? `${must} must` : '', should > 0 ? `${should} should` : ''].filter(Boolean);
  terminal.out(`\nResult: ${verdict}${counts.length > 0 ? ` (not fulfilled: ${counts.join(', ')})` : ''}\n`);
}

function printFindings(terminal: Terminal, findings: readonly Finding[], width: number): void {
  const fulfilled = findings.filter((each) => each.ok).length;
  terminal.out(`  ${'Checks'.padEnd(width)}   ${fulfilled} of ${findings.length} fulfilled\n`);
  for (const each of findings.filter((one) => !one.ok)) {
    const level =
      each.level === 'must' ? mark(terminal, 'bad', 'MUST') : mark(terminal, 'doubtful', 'SHOULD');
    terminal.out(`  ${level} ${each.clause}: ${printable(each.message)}\n`);
  }
}
