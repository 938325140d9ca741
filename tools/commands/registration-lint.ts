import { printable } from '../../spiffe/pki/text.ts';
import { readSettingsFile } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes } from '../errors.ts';
import { counted, mark, type OutputOptions, outputOption, printObject } from '../output.ts';
import { readObjects } from '../registration/documents.ts';
import { type LintReport, lint } from '../registration/lint.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends OutputOptions {
  config?: string;
}

/** `kubespiffe registration lint`: what is wrong with registrations in files. */
export const registrationLint: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'lint', {
    description:
      'Check registrations in files, without a cluster.\n\n' +
      'Reads them as the signer does and names each problem with its line. A ClusterRegistrationPolicy in the files counts.\n' +
      'Ends with 1 when there is an error.',
    examples: `
    # Before a commit
    kubespiffe registration lint registrations/*.yaml

    # With what the cluster grants to its namespaces
    kubectl get clusterregistrationpolicies -o yaml > policy.yaml
    kubespiffe registration lint registrations/*.yaml policy.yaml

    # Also by the settings of the signer: trust domain, cluster name, annotations
    kubespiffe registration lint web.yaml --config signer.yaml`,
  })
    .argument('<file...>', 'YAML or JSON, also several documents or a List; - is standard input.')
    .option('--config <file>', 'Configuration file of the signer, for its settings about templates.')
    .addOption(outputOption())
    .action(async (files: string[], { config, output }: Options) => {
      const settings = config === undefined ? undefined : await readSettingsFile(terminal, config);
      const report = lint(await readObjects(terminal, files), settings?.config);
      if (output) printObject(terminal, output, report);
      else print(terminal, report);
      const isWrong = report.problems.some(({ severity }) => severity === 'error');
      done(isWrong ? exitCodes.failed : exitCodes.ok);
    });

function print(terminal: Terminal, { registrations, problems }: LintReport): void {
  for (const { file, line, severity, object, message } of problems) {
    const level = mark(terminal, severity === 'error' ? 'bad' : 'doubtful', severity);
    terminal.out(`${printable(file)}:${line}: ${level}: ${printable(object)}: ${printable(message)}\n`);
  }
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const counts = [counted(registrations, 'registration'), counted(errors, 'error')];
  terminal.out(`${counts.join(', ')}, ${counted(problems.length - errors, 'warning')}\n`);
}
