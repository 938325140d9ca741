import { type Command, Option } from 'commander';

/** `kubespiffe signer` for help and completion only: tools/main.ts starts it before any of this is loaded. */
export function signer(parent: Command): Command {
  return parent
    .command('signer')
    .description('Run the signer. `kubespiffe signer --help` lists its settings.')
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments();
}

/**
 * Gives the command the flags of the signer, as the table of settings has them. Only completion needs them, so the table
 * is loaded here and not with every command.
 */
export async function withSettings(command: Command): Promise<void> {
  const { table } = await import('../../signer/config/table.ts');
  command
    .option('--config <file>', 'YAML file with settings.')
    .option('--check-config', 'Say whether the configuration is good, show it, and end.');
  for (const [flag, { entry }] of table.byFlag) {
    const { type, description } = entry.setting;
    const option = new Option(`${flag} <${type.placeholder}>`, firstSentence(description));
    command.addOption(type.words ? option.choices(type.words) : option);
  }
}

function firstSentence(markdown: string): string {
  return (markdown.split(/(?<=\.) /, 1)[0] ?? '').replaceAll('`', '');
}
