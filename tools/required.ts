import type { Command } from 'commander';
import { CliError } from './errors.ts';

const required = new WeakMap<Command, string[]>();

/**
 * Adds an option that must be given. Not commander's requiredOption, which complains of what is missing before it
 * has seen that what is there is misspelt.
 */
export function requiredOption(command: Command, flags: string, description: string): Command {
  command.option(flags, `${description} (required)`);
  const name = command.options.at(-1)?.long ?? flags;
  required.set(command, [...(required.get(command) ?? []), name]);
  return command;
}

/** @throws CliError USAGE that lists all options that are missing. */
export function checkRequired(command: Command, path: string): void {
  const missing = (required.get(command) ?? []).filter((name) => {
    const option = command.options.find((each) => each.long === name);
    return option !== undefined && command.getOptionValue(option.attributeName()) === undefined;
  });
  if (missing.length === 0) return;
  throw new CliError('USAGE', `required flags are not set: ${missing.join(', ')}`, `see \`${path} --help\``);
}
