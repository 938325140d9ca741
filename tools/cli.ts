import { Command, CommanderError } from 'commander';
import { type ErrorCode, KubespiffeError, messageOf } from '../spiffe/errors.ts';
import { printable } from '../spiffe/pki/text.ts';
import { bundleFetch } from './commands/bundle-fetch.ts';
import { bundleShow } from './commands/bundle-show.ts';
import { bundleVerify } from './commands/bundle-verify.ts';
import { caAddJwtKey } from './commands/ca-add-jwt-key.ts';
import { caCreate } from './commands/ca-create.ts';
import { caImport } from './commands/ca-import.ts';
import { caRestore } from './commands/ca-restore.ts';
import { caShow } from './commands/ca-show.ts';
import { completion } from './commands/completion.ts';
import { doctor } from './commands/doctor.ts';
import { explain } from './commands/explain.ts';
import { inspect } from './commands/inspect.ts';
import { inspectPcr } from './commands/inspect-pcr.ts';
import { migrateFromSpire } from './commands/migrate-spire.ts';
import { registration } from './commands/registration.ts';
import { signer } from './commands/signer.ts';
import { token } from './commands/token.ts';
import { version } from './commands/version.ts';
import { who } from './commands/who.ts';
import { exitCodes } from './errors.ts';
import { formatHelp, withExamples } from './help.ts';
import { checkRequired } from './required.ts';
import type { Terminal } from './terminal.ts';
import { hintForUnknownVerb } from './unknown-verb.ts';

/** Builds the whole tree of commands. */
export function buildProgram(terminal: Terminal, done: (exitCode: number) => void): Command {
  // Flags belong to the verb before them: those of `inspect pcr` must not be taken for those of `inspect`.
  const program = new Command('kubespiffe')
    .enablePositionalOptions()
    .description('kubespiffe gives pods SPIFFE identities by Pod Certificates. These are its tools.');
  withExamples(
    program,
    `
    # Make a CA and its pool
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org

    # See what a certificate says and whether it conforms to SPIFFE
    kubespiffe inspect credentials.pem`,
  );
  doctor(program, terminal, done);
  const migrate = program.command('migrate').description('Bring registrations from other systems.');
  migrateFromSpire(migrate, terminal, done);
  const ca = program.command('ca').description('Make, show, import and restore the CAs that sign.');
  caCreate(ca, terminal);
  caShow(ca, terminal, done);
  caImport(ca, terminal);
  caAddJwtKey(ca, terminal);
  caRestore(ca, terminal);
  const bundle = program.command('bundle').description('Show, fetch and verify what SVIDs are verified by.');
  bundleShow(bundle, terminal);
  bundleFetch(bundle, terminal);
  bundleVerify(bundle, terminal, done);
  token(program, terminal);
  who(program, terminal, done);
  explain(program, terminal, done);
  registration(program, terminal, done);
  signer(program);
  inspectPcr(inspect(program, terminal, done), terminal, done);
  completion(program, terminal);
  version(program, terminal);
  program.helpCommand('help [command]', 'Help about any command.');
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
 * @returns the exit code: 0 ok, 1 failed or does not conform, 2 wrong usage.
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = buildProgram(terminal, (code) => {
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

/** `help ca show` and `--version`, which people try too, as what they stand for. */
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

function failure(error: unknown, terminal: Terminal): number {
  const code = error instanceof KubespiffeError ? error.code : undefined;
  const hint = (error instanceof KubespiffeError && error.hint) || (code && hints[code]);
  printError(terminal, messageOf(error), hint);
  return code === 'USAGE' || code === 'SPIFFE_ID_INVALID' ? exitCodes.usage : exitCodes.failed;
}

/** Hints for errors that are raised below the commands, where flags are not known. */
const hints: Readonly<Partial<Record<ErrorCode, string>>> = {
  CONFIG_INVALID: 'give a kubeconfig that works with --kubeconfig FILE or in KUBECONFIG',
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
