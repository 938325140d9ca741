import { Argument, type Command, type Option } from 'commander';
import { firstLine, withExamples } from '../help.ts';
import type { Terminal } from '../terminal.ts';
import { withSettings } from './signer.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

/** `kubespiffe completion`: the script that makes a shell complete commands and flags. */
export function completion(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('completion')
    .description('Print the completion script for a shell.')
    .addArgument(new Argument('<shell>', 'Which shell.').choices([...shells]))
    .action(async (shell: Shell) => {
      const signer = parent.commands.find((each) => each.name() === 'signer');
      if (signer) await withSettings(signer);
      terminal.out(scripts[shell](wordsOf(parent)));
    });
  withExamples(
    command,
    `
    # bash, for this session
    source <(kubespiffe completion bash)

    # zsh, for all sessions
    kubespiffe completion zsh > "\${fpath[1]}/_kubespiffe"

    # fish, for all sessions
    kubespiffe completion fish > ~/.config/fish/completions/kubespiffe.fish`,
  );
  return command;
}

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
  }[];
  readonly argumentChoices: readonly string[];
}

function wordsOf(command: Command, path = ''): Words[] {
  const below = command.commands.map((each) => ({ name: each.name(), what: firstLine(each.description()) }));
  const own: Words = {
    path,
    commands: below,
    flags: command.createHelp().visibleOptions(command).map(flagOf),
    argumentChoices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
  };
  return [
    own,
    ...command.commands.flatMap((each) =>
      wordsOf(each, path === '' ? each.name() : `${path} ${each.name()}`),
    ),
  ];
}

function flagOf(option: Option): Words['flags'][number] {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
    what: firstLine(option.description),
    takesValue: option.required,
    takesFile: /<(file|folder)>$/i.test(option.flags),
    choices: option.argChoices ?? [],
  };
}

const scripts: Readonly<Record<Shell, (words: readonly Words[]) => string>> = {
  bash: (words) => `# bash completion for kubespiffe
_kubespiffe() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} verb= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$verb $word" in
${words.flatMap((each) => each.commands.map(({ name }) => `      "${each.path} ${name}") verb="${join(each.path, name)}" ;;\n`)).join('')}    esac
  done
  COMPREPLY=()
  case "$verb:$previous" in
${words.flatMap((each) => each.flags.flatMap((flag) => (flag.choices.length === 0 ? [] : flag.names.map((name) => `    "${each.path}:${name}") COMPREPLY=($(compgen -W "${flag.choices.join(' ')}" -- "$current")); return ;;\n`)))).join('')}  esac
  case "$previous" in
    ${fileFlags(words).join('|')}) _kubespiffe_files; return ;;
    ${valueFlags(words).join('|')}) return ;;
  esac
  case "$verb" in
${words.map((each) => `    "${each.path}") COMPREPLY=($(compgen -W "${allWords(each).join(' ')}" -- "$current")) ;;\n`).join('')}  esac
  if [ \${#COMPREPLY[@]} -eq 0 ]; then _kubespiffe_files; fi
}
# Only what is a file is treated as one: else a command gets a slash where a folder has its name.
_kubespiffe_files() {
  COMPREPLY=($(compgen -f -- "$current"))
  compopt -o filenames 2>/dev/null
}
complete -F _kubespiffe kubespiffe
`,
  zsh: (words) => `#compdef kubespiffe
# zsh completion for kubespiffe
_kubespiffe() {
  local verb= word
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$verb $word" in
${words.flatMap((each) => each.commands.map(({ name }) => `      "${each.path} ${name}") verb="${join(each.path, name)}" ;;\n`)).join('')}    esac
  done
  case "$verb:\${words[CURRENT-1]}" in
${words.flatMap((each) => each.flags.flatMap((flag) => (flag.choices.length === 0 ? [] : flag.names.map((name) => `    "${each.path}:${name}") compadd -- ${flag.choices.join(' ')}; return ;;\n`)))).join('')}  esac
  case "\${words[CURRENT-1]}" in
    ${fileFlags(words).join('|')}) _files; return ;;
    ${valueFlags(words).join('|')}) return ;;
  esac
  case "$verb" in
${words.map((each) => `    "${each.path}") compadd -- ${allWords(each).join(' ')} && return ;;\n`).join('')}  esac
  _files
}
if [ "$funcstack[1]" = _kubespiffe ]; then _kubespiffe "$@"; else compdef _kubespiffe kubespiffe; fi
`,
  fish: (words) => `# fish completion for kubespiffe
function __kubespiffe_verb
  set -l verb ""
  for word in (commandline -opc)[2..-1]
    switch "$verb $word"
${words.flatMap((each) => each.commands.map(({ name }) => `      case "${each.path} ${name}"\n        set verb "${join(each.path, name)}"\n`)).join('')}    end
  end
  echo "$verb"
end
${words
  .flatMap((each) => {
    const when = `complete -c kubespiffe -n 'test (__kubespiffe_verb) = "${each.path}"'`;
    return [
      ...each.commands.map(({ name, what }) => `${when} -f -a ${name} -d ${quoted(what)}\n`),
      ...each.argumentChoices.map((choice) => `${when} -f -a ${choice}\n`),
      ...each.flags.map((flag) => `${when}${fishFlag(flag)} -d ${quoted(flag.what)}\n`),
    ];
  })
  .join('')}`,
};

function join(path: string, name: string): string {
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
  const words = flag.choices.length > 0 ? ` -x -a ${quoted(flag.choices.join(' '))}` : ' -x';
  const value = flag.takesFile ? ' -r' : words;
  return names.join('') + (flag.takesValue ? value : ' -f');
}

/** A word in single quotes, as bash, zsh and fish read them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
