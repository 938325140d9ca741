import type { Command } from 'commander';
import { CliError } from './errors.ts';

const required = new WeakMap<Command, { readonly name: string; readonly when: When }[]>();

/** Whether an option must be given, by the values of the others. */
type When = (options: Readonly<Record<string, unknown>>) => boolean;

/**
 * Adds an option that must be given. Not commander's requiredOption, which complains of what is missing before it
 * has seen that the given one is misspelt.
 */
export function requiredOption(
  command: Command,
  flags: string,
  description: string,
  when: When = () => true,
): Command {
  command.option(flags, `${description} (required)`);
  const name = command.options.at(-1)?.long ?? flags;
  required.set(command, [...(required.get(command) ?? []), { name, when }]);
  return command;
}

/** @throws CliError USAGE that lists all options that are missing. */
export function checkRequired(command: Command, path: string): void {
  const missing = (required.get(command) ?? []).flatMap(({ name, when }) => {
    const option = command.options.find((each) => each.long === name);
    const isMissing = option !== undefined && command.getOptionValue(option.attributeName()) === undefined;
    return isMissing && when(command.opts()) ? [name] : [];
  });
  if (missing.length === 0) return;
  throw new CliError('USAGE', `required flags are not set: ${missing.join(', ')}`, `see \`${path} --help\``);
}
