import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import type { Result } from '../doctor/check.ts';
import { createFacts } from '../doctor/facts.ts';
import { examine, type Row } from '../doctor/run.ts';
import { parseSeconds } from '../duration.ts';
import { exitCodes } from '../errors.ts';
import { mark, type OutputOptions, outputOption, printObject, table } from '../output.ts';
import type { Terminal } from '../terminal.ts';

type Options = ClusterOptions & SettingsOptions & OutputOptions & { overdueAfter: string };

/** `kubespiffe doctor`: what a person checks by hand when nothing works. */
export const doctor: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'doctor', {
    description:
      'Check the cluster, the signer and the pods, and say what to do.\n\n' +
      'Changes nothing. What may not be read is reported as unknown, with the right that is missing. Ends with 1 when\n' +
      'there is a problem.',
    examples: `
    # Everything, as a table
    kubespiffe doctor

    # What is wrong, for a program
    kubespiffe doctor -o json | jq '.rows[] | select(.result == "problem")'`,
    options: [withSignerSettings, withCluster],
  })
    .option('--overdue-after <duration>', 'Report what waits for longer, such as an open request.', '60s')
    .addOption(outputOption())
    .action(async (options: Options) => {
      const overdueSeconds = parseSeconds(options.overdueAfter, '--overdue-after');
      const rows = await withApi(options, terminal, (api) =>
        examine(createFacts(api, terminal, { ...options, overdueSeconds })),
      );
      const result = worstOf(rows);
      if (options.output) printObject(terminal, options.output, { result, rows });
      else print(terminal, rows);
      done(result === 'problem' ? exitCodes.failed : exitCodes.ok);
    });

const marks = { ok: 'good', unknown: 'doubtful', warning: 'doubtful', problem: 'bad' } as const;
const order: readonly Result[] = ['ok', 'unknown', 'warning', 'problem'];

function worstOf(rows: readonly Row[]): Result {
  return order.findLast((result) => rows.some((row) => row.result === result)) ?? 'ok';
}

function print(terminal: Terminal, rows: readonly Row[]): void {
  // Padded before it is coloured: marks are no characters that a person sees.
  const width = Math.max(...order.map((result) => result.length));
  const titles = ['RESULT', 'CHECK', 'LOOKED AT', 'FOUND'];
  const cells = rows.map((row) => [row.result, row.check, row.lookedAt, row.found].map(printable));
  const lines = table([titles, ...cells]).split('\n');
  const [head = '', ...body] = lines;
  terminal.out(`${head}\n`);
  for (const [i, row] of rows.entries()) {
    const line = body[i] ?? '';
    terminal.out(`${mark(terminal, marks[row.result], line.slice(0, width))}${line.slice(width)}\n`);
  }
  const todo = rows.filter(({ remedy }) => remedy !== undefined);
  if (todo.length === 0) return;
  terminal.out('\nWhat to do:\n');
  for (const { check, lookedAt, remedy } of todo) {
    terminal.out(`  ${check}, ${printable(lookedAt)}: ${printable(remedy ?? '')}\n`);
  }
}
