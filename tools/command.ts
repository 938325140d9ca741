import { type Command, Option } from 'commander';
import { usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** Takes the exit code of a command that has run, where it is not 0. */
export type Done = (exitCode: number) => void;

/** Adds a command below another one. */
export type AddCommand = (parent: Command, terminal: Terminal, done: Done) => Command;

interface About {
  /** Begins with a sentence that can stand alone in a list. */
  readonly description: string;
  readonly examples?: string;
  /** Its options in the order of its help. A function adds those that several commands share. */
  readonly options?: readonly (Option | ((command: Command) => Command))[];
}

/** The examples that the help of a command shows. */
export const examplesOf = new WeakMap<Command, string>();

/** @returns the command, so that options of its own and what it does can be added. */
export function addCommand(parent: Command, name: string, about: About): Command {
  const command = parent.command(name).description(about.description);
  if (about.examples !== undefined) examplesOf.set(command, about.examples);
  for (const each of about.options ?? []) {
    if (each instanceof Option) command.addOption(each);
    else each(command);
  }
  return command;
}

/** An option that takes one of a few words. */
export function choice(
  flags: string,
  description: string,
  words: readonly string[],
  byDefault?: string,
): Option {
  return new Option(flags, description).choices(words).default(byDefault);
}

/** Whether an option must be given, by the values of the others. */
type When = (options: Readonly<Record<string, unknown>>) => boolean;

const requiredWhen = new WeakMap<Option, When>();

/**
 * An option that must be given. Not commander's requiredOption, which complains of what is missing before it has seen
 * that the given one is misspelt.
 */
export function required(flags: string, description: string, when: When = () => true): Option {
  const option = new Option(flags, `${description} (required)`);
  requiredWhen.set(option, when);
  return option;
}

/** @throws CliError USAGE that lists all options that are missing. */
export function checkRequired(command: Command, path: string): void {
  const missing = command.options.filter(
    (option) =>
      command.getOptionValue(option.attributeName()) === undefined &&
      requiredWhen.get(option)?.(command.opts()),
  );
  if (missing.length === 0) return;
  const names = missing.map(({ long }) => long).join(', ');
  throw usageError(`required flags are not set: ${names}`, `see \`${path} --help\``);
}
