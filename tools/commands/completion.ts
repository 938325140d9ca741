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

/** The objects of the cluster that an option or an argument names. */
const liveKinds: Readonly<Record<string, LiveKind>> = {
  namespace: 'namespaces',
  pod: 'pods',
  registration: 'registrations',
  'federated-trust-domain': 'federated-trust-domains',
};

/** What may follow a command, such as `ca create`: its subcommands, its flags, and the values of those that list them. */
type Words = ReturnType<typeof ownWords>;
type Flag = ReturnType<typeof flagOf>;

function wordsOf(command: Command, path = ''): Words[] {
  return [
    ownWords(command, path),
    ...command.commands.flatMap((each) => wordsOf(each, below(path, each.name()))),
  ];
}

function ownWords(command: Command, path: string) {
  return {
    path,
    commands: command.commands.map((each) => ({ name: each.name(), what: firstLine(each.description()) })),
    flags: command.createHelp().visibleOptions(command).map(flagOf),
    argumentChoices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    /** The objects of the cluster that the argument names. */
    argumentLive: liveKinds[command.registeredArguments[0]?.name() ?? ''],
  };
}

function flagOf(option: Option) {
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
  const verbsOf = ({ path, commands }: Words) =>
    commands.flatMap(({ name }) => {
      const [from, to] = [`${path} ${name}`, below(path, name)];
      return shell === 'fish' ? [`case "${from}"`, `  set verb "${to}"`] : [`"${from}") verb="${to}" ;;`];
    });
  const choicesOf = ({ path, flags }: Words) =>
    flags.flatMap(({ names, choices, live }) => {
      if (choices.length === 0 && !live) return [];
      const what = live ? liveCall(live) : complete(choices);
      return names.map((name) => `"${path}:${name}") ${what}; return ;;`);
    });
  const wordsFor = ({ commands, argumentChoices, argumentLive, flags }: Words) => {
    const names = [...commands.map(({ name }) => name), ...argumentChoices];
    const all = complete([...names, ...flags.flatMap((flag) => flag.names)]);
    if (!argumentLive) return `${all}${shell === 'bash' ? '' : ' && return'}`;
    return `case "$current" in -*) ${all} ;; *) ${liveCall(argumentLive)} ;; esac; return`;
  };
  return {
    VERBS: words.flatMap(verbsOf),
    CHOICES: words.flatMap(choicesOf),
    WORDS: words.map((each) => `"${each.path}") ${wordsFor(each)} ;;`),
    // A shell cannot know other values.
    FILE_FLAGS: [namesOf(words, ({ takesFile }) => takesFile)],
    VALUE_FLAGS: [namesOf(words, ({ takesValue }) => takesValue)],
    COMPLETE: words.flatMap(fishLines),
  };
}

/** The names of some flags of all commands, as a pattern of the shell. */
function namesOf(words: readonly Words[], isOne: (flag: Flag) => boolean): string {
  const flags = words.flatMap((each) => each.flags.filter(isOne));
  return [...new Set(flags.flatMap(({ names }) => names))].join('|');
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

function fishFlag(flag: Flag): string {
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
