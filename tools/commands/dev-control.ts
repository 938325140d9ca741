import { askDev, type ControlRequest } from '../../dev/control.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { folderOf, withFolder, workloadOf } from '../dev-options.ts';
import type { Terminal } from '../terminal.ts';

interface Options {
  readonly folder?: string;
  readonly ca?: boolean;
}

async function ask(terminal: Terminal, options: Options, request: ControlRequest): Promise<void> {
  const { lines } = await askDev(folderOf(options, terminal), request);
  for (const line of lines) terminal.out(`${line}\n`);
}

const devRotate: AddCommand = (parent, terminal) =>
  addCommand(parent, 'rotate', {
    description:
      'Replace certificates now, or the CA.\n\nPrograms should load the new ones and drop no connection.',
    examples: `
    # New certificates for all workloads
    kubespiffe dev rotate

    # The next CA and JWT key sign
    kubespiffe dev rotate --ca`,
    options: [withFolder],
  })
    .argument('[workloads...]', 'Such as shop/web. Default: all.')
    .option(
      '--ca',
      'Let the next CA and JWT key sign. The roots of both stay while certificates of both are valid.',
    )
    .action((workloads: readonly string[], options: Options) =>
      ask(
        terminal,
        options,
        options.ca ? { ask: 'rotate-ca' } : { ask: 'rotate', workloads: workloads.map(workloadOf) },
      ),
    );

const devExpire: AddCommand = (parent, terminal) =>
  addCommand(parent, 'expire', {
    description:
      'Let certificates expire.\n\n' +
      'They end in seconds, and are not renewed before `kubespiffe dev rotate`: as if the signer could not be reached\n' +
      'for long. Programs should say so, and refuse peers whose certificate has expired.',
    examples: `
    # See what shop/web does without a valid certificate
    kubespiffe dev expire shop/web`,
    options: [withFolder],
  })
    .argument('[workloads...]', 'Such as shop/web. Default: all.')
    .action((workloads: readonly string[], options: Options) =>
      ask(terminal, options, { ask: 'expire', workloads: workloads.map(workloadOf) }),
    );

const devTaint: AddCommand = (parent, terminal) =>
  addCommand(parent, 'taint', {
    description:
      'Replace the CA, as if its key had been stolen.\n\n' +
      'It signs no more, the next one replaces all certificates at once, and its root leaves the bundle seconds later.\n' +
      'Programs that keep their first certificate or roots fail then.',
    examples: `
    # See whether all programs take new roots
    kubespiffe dev taint`,
    options: [withFolder],
  }).action((options: Options) => ask(terminal, options, { ask: 'taint' }));

/** `kubespiffe dev rotate`, `expire` and `taint`: what production will do to a program, now. */
export const devControl: readonly AddCommand[] = [devRotate, devExpire, devTaint];
