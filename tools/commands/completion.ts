import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Argument, type Command, type Option } from 'commander';
import { type AddCommand, addCommand } from '../command.ts';
import type { LiveKind } from '../completion/live.ts';
import { firstLine } from '../help.ts';
import { withSettings } from './signer.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

/** `kubespiffe completion`: the script that makes a shell complete commands and flags. */
export const completion: AddCommand = (parent, terminal) =>
  addCommand(parent, 'completion', {
    description: 'Print the completion script for a shell.',
    examples: `
    # bash, for this session
    source <(kubespiffe completion bash)

    # zsh, for all sessions
    kubespiffe completion zsh > "\${fpath[1]}/_kubespiffe"

    # fish, for all sessions
    kubespiffe completion fish > ~/.config/fish/completions/kubespiffe.fish`,
  })
    .addArgument(new Argument('<shell>', 'Which shell.').choices([...shells]))
    .action(async (shell: Shell) => {
      const signer = parent.commands.find((each) => each.name() === 'signer');
      if (signer) await withSettings(signer);
      terminal.out(scriptFor(shell, wordsOf(parent)));
    });

/** What may follow a command, such as `ca create`: its subcommands, its flags, and the values of those that list them. */
interface Words {
  readonly path: string;
  readonly commands: readonly { name: string; what: string }[];
  readonly flags: readonly {
    names: readonly string[];
    what: string;
    takesValue: boolean;
    takesFile: boolean;
    choices: readonly string[];
    live: LiveKind | undefined;
  }[];
  readonly argumentChoices: readonly string[];
  /** What of the cluster the argument names. */
  readonly argumentLive: LiveKind | undefined;
}

/** What of the cluster an option or an argument names. */
const liveKinds: Readonly<Record<string, LiveKind>> = {
  namespace: 'namespaces',
  pod: 'pods',
  registration: 'registrations',
  'federated-trust-domain': 'federated-trust-domains',
};

function wordsOf(command: Command, path = ''): Words[] {
  const own: Words = {
    path,
    commands: command.commands.map((each) => ({ name: each.name(), what: firstLine(each.description()) })),
    flags: command.createHelp().visibleOptions(command).map(flagOf),
    argumentChoices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    argumentLive: liveKinds[command.registeredArguments[0]?.name() ?? ''],
  };
  return [own, ...command.commands.flatMap((each) => wordsOf(each, below(path, each.name())))];
}

function flagOf(option: Option): Words['flags'][number] {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
    what: firstLine(option.description),
    takesValue: option.required,
    takesFile: /<(file|folder)>$/i.test(option.flags),
    choices: option.argChoices ?? [],
    live: liveKinds[option.name()],
  };
}

/** What the templates in tools/completion name: a list stands on a line of its own, with its indentation. */
function lists(shell: Shell, words: readonly Words[]): Readonly<Record<string, readonly string[]>> {
  const complete = (list: readonly string[]) =>
    shell === 'bash'
      ? `COMPREPLY=($(compgen -W "${list.join(' ')}" -- "$current"))`
      : `compadd -- ${list.join(' ')}`;
  const verbs = words.flatMap((each) =>
    each.commands.map(({ name }) => ({ from: `${each.path} ${name}`, to: below(each.path, name) })),
  );
  const chosen = words.flatMap((each) =>
    each.flags
      .filter(({ choices, live }) => choices.length > 0 || live)
      .flatMap(({ names, choices, live }) =>
        names.map((name) => ({
          at: `${each.path}:${name}`,
          what: live ? liveCall(live) : complete(choices),
        })),
      ),
  );
  const wordsFor = (each: Words) => {
    const all = complete(allWords(each));
    if (!each.argumentLive) return `${all}${shell === 'bash' ? '' : ' && return'}`;
    return `case "$current" in -*) ${all} ;; *) ${liveCall(each.argumentLive)} ;; esac; return`;
  };
  return {
    VERBS: verbs.flatMap(({ from, to }) =>
      shell === 'fish' ? [`case "${from}"`, `  set verb "${to}"`] : [`"${from}") verb="${to}" ;;`],
    ),
    CHOICES: chosen.map(({ at, what }) => `"${at}") ${what}; return ;;`),
    WORDS: words.map((each) => `"${each.path}") ${wordsFor(each)} ;;`),
    FILE_FLAGS: [fileFlags(words).join('|')],
    VALUE_FLAGS: [valueFlags(words).join('|')],
    COMPLETE: words.flatMap(fishLines),
  };
}

function scriptFor(shell: Shell, words: readonly Words[]): string {
  const known = lists(shell, words);
  const template = readFileSync(join(import.meta.dirname, `../completion/${shell}.template`), 'utf8');
  return template.replace(/^( *)@(\w+)@/gm, (_, indent, name) =>
    (known[name] ?? []).map((line) => indent + line).join('\n'),
  );
}

const liveCall = (kind: LiveKind) => `_kubespiffe_live ${kind}`;

function fishLines(each: Words): string[] {
  const when = `complete -c kubespiffe -n 'test (__kubespiffe_verb) = "${each.path}"'`;
  return [
    ...each.commands.map(({ name, what }) => `${when} -f -a ${name} -d ${quoted(what)}`),
    ...each.argumentChoices.map((choice) => `${when} -f -a ${choice}`),
    ...(each.argumentLive ? [`${when} -f -a '(${liveCall(each.argumentLive)})'`] : []),
    ...each.flags.map((flag) => `${when}${fishFlag(flag)} -d ${quoted(flag.what)}`),
  ];
}

function below(path: string, name: string): string {
  return path === '' ? name : `${path} ${name}`;
}

function allWords(words: Words): string[] {
  return [
    ...words.commands.map(({ name }) => name),
    ...words.argumentChoices,
    ...words.flags.flatMap((flag) => flag.names),
  ];
}

function valueFlags(words: readonly Words[]): string[] {
  const flags = words.flatMap((each) => each.flags.filter((flag) => flag.takesValue));
  return [...new Set(flags.flatMap((flag) => flag.names))];
}

/** Those of the value flags whose value is a file or a folder; of the others no shell can know what they may be. */
function fileFlags(words: readonly Words[]): string[] {
  const flags = words.flatMap((each) => each.flags.filter((flag) => flag.takesFile));
  return [...new Set(flags.flatMap((flag) => flag.names))];
}

function fishFlag(flag: Words['flags'][number]): string {
  const names = flag.names.map((name) =>
    name.startsWith('--') ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`,
  );
  const offered = flag.live ? `(${liveCall(flag.live)})` : flag.choices.join(' ');
  const words = offered === '' ? ' -x' : ` -x -a ${quoted(offered)}`;
  const value = flag.takesFile ? ' -r' : words;
  return names.join('') + (flag.takesValue ? value : ' -f');
}

/** A word in single quotes, as bash, zsh and fish read them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
