import type { Command, Help } from 'commander';
import { examplesOf } from './command.ts';

/** A description begins with a sentence that can stand alone in a list. */
export function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/** Help in the order that kubectl has: what it does, examples, commands, options, usage. */
export function formatHelp(command: Command, helper: Help): string {
  const width = Math.max(
    0,
    ...helper.visibleOptions(command).map((option) => helper.optionTerm(option).length),
    ...helper.visibleCommands(command).map((each) => helper.subcommandTerm(each).length),
  );
  const rows = (items: readonly (readonly [string, string])[]) =>
    items.map(([term, what]) => `  ${term.padEnd(width)}   ${what}`.trimEnd()).join('\n');
  const section = (title: string, body: string) => (body === '' ? '' : `${title}:\n${body}\n\n`);
  const commands = helper
    .visibleCommands(command)
    .map((each) => [helper.subcommandTerm(each), firstLine(helper.subcommandDescription(each))] as const);
  const options = helper
    .visibleOptions(command)
    .map((option) => [helper.optionTerm(option), helper.optionDescription(option)] as const);
  const example = (examplesOf.get(command) ?? '')
    .replace(/^\n/, '')
    .split('\n')
    .map((line) => (line === '' ? '' : `  ${line.replace(/^ {4}/, '')}`))
    .join('\n');
  return (
    `${command.description()}\n\n` +
    section('Examples', example.trim() === '' ? '' : example) +
    section('Commands', rows(commands)) +
    section('Options', rows(options)) +
    section('Usage', `  ${helper.commandUsage(command)}`)
  );
}
