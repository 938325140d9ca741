import { Command, CommanderError } from 'commander';
import { type ErrorCode, KubespiffeError, messageOf } from '../spiffe/errors.ts';
import { nearest } from '../spiffe/nearest.ts';
import { printable } from '../spiffe/pki/text.ts';
import { type AddCommand, checkRequired, type Done } from './command.ts';
import { exitCodes } from './errors.ts';
import { formatHelp } from './help.ts';
import type { Terminal } from './terminal.ts';

/** What every command of a tree has in common: how its help looks, and that required flags are checked. */
export function complete(program: Command): Command {
  for (const command of everyCommand(program)) {
    command.configureHelp({ formatHelp }).helpOption('-h, --help', 'Show this help.');
    if (command !== program) command.helpCommand(false);
  }
  program.hook('preAction', (_program, command) => checkRequired(command, pathOf(command)));
  return program;
}

/** A command and all below it. */
export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/**
 * Runs one command line.
 * @param argv without the interpreter and the script.
 * @param build makes the tree of commands.
 * @returns the exit code: 0 ok, 1 failed or does not conform, 2 wrong usage.
 */
export async function runProgram(
  argv: readonly string[],
  terminal: Terminal,
  build: (done: Done) => Command,
): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = build((code) => {
    exitCode = code;
  });
  let complaint = '';
  for (const command of everyCommand(program)) {
    command
      .configureOutput({
        writeOut: terminal.out,
        writeErr: (text) => {
          complaint += text;
        },
      })
      .exitOverride((error) => {
        throw Object.assign(error, { command });
      });
  }
  try {
    await program.parseAsync(asCommand(argv, program), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, complaint, terminal);
    return failure(error, terminal);
  }
}

/** Runs a command line of one command, without the others: they cost memory beside an application, and time. */
export function runAlone(add: AddCommand, argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, (done) => {
    const program = new Command('kubespiffe').enablePositionalOptions();
    add(program, terminal, done);
    return complete(program);
  });
}

/** Accepts `help ca show` for `ca show --help`, and `--version` for `version`. */
function asCommand(argv: readonly string[], program: Command): string[] {
  const [first] = argv;
  if (first === '--version') return ['version', ...argv.slice(1)];
  const asked = first === 'help' ? [...argv.slice(1), '--help'] : [...argv];
  // Asked for help about what is not there, commander gives the help of what is above it, as if all were well.
  return isKnown(asked, program) ? asked : asked.filter((word) => word !== '--help' && word !== '-h');
}

function isKnown(words: readonly string[], command: Command): boolean {
  const [word, ...rest] = words;
  if (word === undefined || word.startsWith('-') || command.commands.length === 0) return true;
  const next = command.commands.find((each) => each.name() === word);
  return next ? isKnown(rest, next) : command.registeredArguments.length > 0;
}

function usage(error: CommanderError, complaint: string, terminal: Terminal): number {
  if (error.exitCode === 0) return exitCodes.ok;
  // A group of commands without a verb: kubectl shows what there is, and calls it no mistake.
  if (error.code === 'commander.help') {
    terminal.out(complaint);
    return exitCodes.ok;
  }
  const [first = '', suggestion] = error.message.split('\n');
  const command = 'command' in error && error.command instanceof Command ? error.command : undefined;
  const path = command ? pathOf(command) : 'kubespiffe';
  const verb = /^error: unknown command '(.*)'$/.exec(first)?.[1];
  const hint =
    command && verb !== undefined
      ? hintForUnknownVerb(verb, command, path)
      : suggestion?.replace(/^\(Did you mean (.*)\?\)$/, 'did you mean $1?');
  printError(terminal, first.replace(/^error: /, ''), hint ?? `see \`${path} --help\``);
  return exitCodes.usage;
}

/** Where people find what they wanted when no verb does it. */
const elsewhere: Readonly<Record<string, string>> = {
  ca:
    'a new CA or key is brought in by `kubespiffe ca rotate`, any other change of a pool is in ' +
    'docs/reference/pool.md#changing-a-pool; `kubespiffe ca --help` lists the verbs',
};

/**
 * The hint for a verb that does not exist. Only a verb that is one typing mistake away is suggested: for `ca export`
 * Commander suggests `ca import`, the opposite of it.
 */
function hintForUnknownVerb(verb: string, group: Command, path: string): string {
  const guess = nearest(
    verb,
    group.commands.map((each) => each.name()),
    1,
  );
  return guess ? `did you mean ${guess}?` : (elsewhere[group.name()] ?? `see \`${path} --help\``);
}

function failure(error: unknown, terminal: Terminal): number {
  const code = error instanceof KubespiffeError ? error.code : undefined;
  const hint = (error instanceof KubespiffeError && error.hint) || (code && hints[code]);
  printError(terminal, messageOf(error), hint);
  return code === 'USAGE' || code === 'SPIFFE_ID_INVALID' ? exitCodes.usage : exitCodes.failed;
}

/** Hints for errors that are raised below the commands, where flags are not known. */
const hints: Readonly<Partial<Record<ErrorCode, string>>> = {
  SPIFFE_ID_INVALID: 'a trust domain is a name like example.org',
};

function printError(terminal: Terminal, message: string, hint: string | undefined): void {
  // Servers and files of others have their say in it.
  const oneLine = (text: string) => printable(text.replace(/\s*\n\s*/g, ' '));
  terminal.err(`error: ${oneLine(message)}\n`);
  if (hint !== undefined) terminal.err(`hint: ${oneLine(hint)}\n`);
}

/** How a command is called, such as `kubespiffe ca create`. */
export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
