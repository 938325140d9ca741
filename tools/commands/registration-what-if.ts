import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand, required } from '../command.ts';
import { exitCodes } from '../errors.ts';
import { mark, type OutputOptions, outputOption, printObject } from '../output.ts';
import { readObjects } from '../registration/documents.ts';
import { type Names, type PodChange, type WhatIfReport, whatIf } from '../registration/what-if.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, SettingsOptions, OutputOptions {
  filename: string[];
  namespace?: string;
  delete?: boolean;
}

/** `kubespiffe registration what-if`: whose names would change. */
export const registrationWhatIf: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'what-if', {
    description:
      'Show which pods would change, gain or lose a name if registrations were applied.\n\n' +
      'Nothing is written. Also accepts a ClusterRegistrationPolicy, Services and Namespaces. Ends with 1 when a pod would\n' +
      'lose its name.',
    examples: `
    # Who is affected by these files?
    kubespiffe registration what-if -f web.yaml -f api.yaml

    # May this registration go?
    kubespiffe registration what-if -f web.yaml --delete`,
    options: [
      required('-f, --filename <file...>', 'YAML or JSON; - is standard input.'),
      withSignerSettings,
      withCluster,
    ],
  })
    .option('-n, --namespace <namespace>', 'Namespace of objects that name none.')
    .option('--delete', 'What if the objects in the files were deleted?')
    .addOption(outputOption())
    .action(async (options: Options) => {
      const objects = await readObjects(terminal, options.filename);
      const report = await withApi(
        { ...options, role: identityViewer },
        terminal,
        async (api, contextNamespace) => {
          const world = createWorld(await readSignerSettings(api, terminal, options));
          await world.fill(api);
          const namespace = options.namespace ?? contextNamespace ?? 'default';
          return whatIf(world, objects, { namespace, isDeletion: options.delete === true });
        },
      );
      if (options.output) printObject(terminal, options.output, report);
      else print(terminal, report);
      done(report.changes.some(({ change }) => change === 'loses') ? exitCodes.failed : exitCodes.ok);
    });

/** A person reads no more of each kind. */
const mostShown = 20;

const titles = {
  loses: [
    'bad',
    '1 pod loses its name: its next refresh waits',
    'pods lose their names: their next refresh waits',
  ],
  changes: [
    'doubtful',
    '1 pod gets another name, at its next refresh',
    'pods get other names, at their next refresh',
  ],
  gains: ['good', '1 pod gets a name that it lacks now', 'pods get names that they lack now'],
} as const;

function print(terminal: Terminal, { objects, isDeletion, changes, unchangedPods }: WhatIfReport): void {
  const verb = isDeletion ? 'deleted' : 'applied';
  terminal.out(
    `If ${objects.length === 1 ? 'this were' : 'these were'} ${verb}: ${printable(objects.join(', '))}\n`,
  );
  for (const [kind, [colour, one, several]] of Object.entries(titles)) {
    const concerned = changes.filter(({ change }) => change === kind);
    if (concerned.length === 0) continue;
    const title = concerned.length === 1 ? one : `${concerned.length} ${several}`;
    terminal.out(`\n${mark(terminal, colour, title)}\n`);
    for (const each of concerned.slice(0, mostShown)) terminal.out(linesOf(each));
    const left = concerned.length - mostShown;
    if (left > 0) terminal.out(`  and ${left} more; -o json lists them\n`);
  }
  const rest =
    unchangedPods === 1
      ? '1 pod with a certificate keeps its names'
      : `${unchangedPods} pods with a certificate keep their names`;
  terminal.out(`\n${changes.length === 0 ? 'Nothing changes: ' : ''}${rest}.\n`);
}

function linesOf({ pod, signer, before, after }: PodChange): string {
  return `  ${printable(pod)} (${signer})\n    - ${textOf(before)}\n    + ${textOf(after)}\n`;
}

function textOf({ names, registration, reason, message }: Names): string {
  if (reason !== null) return printable(`none: ${reason}: ${message}`);
  return printable(`${names.join(', ')}${registration === null ? '' : `  (${registration})`}`);
}
