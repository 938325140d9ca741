import type { Command } from 'commander';

/** `kubespiffe signer` for help and completion only: tools/main.ts starts it before any of this is loaded. */
export function signer(parent: Command): Command {
  return parent
    .command('signer')
    .description('Run the signer. `kubespiffe signer --help` lists its settings.')
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments();
}
