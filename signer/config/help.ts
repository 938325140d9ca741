import { fileHeader } from './file.ts';
import { type Setting, settingSections } from './setting.ts';
import { fileVariable } from './sources.ts';
import type { Entry, Names, Table } from './table.ts';

/** What `kubespiffe signer --help` prints. */
export function helpText(table: Table): string {
  const lines = [
    'Answers the PodCertificateRequests of the signer kubespiffe.io/spiffe and of the',
    'other signers that are enabled, and publishes their roots.',
    '',
    'Usage: kubespiffe signer --trust-domain NAME [flags]',
    '',
    'General',
    ...flagLines(
      '--config FILE',
      `YAML file with settings (kind ${fileHeader.kind}). Flags and environment win.`,
    ),
    ...flagLines('--check-config', 'Say whether the configuration is good, show it, and end.'),
    ...flagLines('--help', 'Show this.'),
  ];
  for (const section of settingSections) {
    lines.push('', section);
    for (const { setting, names } of table.entries.filter((entry) => entry.setting.section === section)) {
      const { type, description } = setting;
      const flags = names.map(({ flag }) => flag).join(', ');
      lines.push(
        ...flagLines(`${flags} ${type.placeholder}`, `${plain(description)} ${plain(fallback(setting))}`),
      );
    }
  }
  lines.push(
    '',
    'Each setting is also an environment variable (KUBESPIFFE_LOG_LEVEL=debug) and a',
    'key of the file (logLevel: debug). A flag wins over the environment, the',
    'environment over the file.',
    '',
    'A setting of a signer has the name of the signer in front:',
    '--spiffe-max-lifetime=12h, KUBESPIFFE_SPIFFE_MAX_LIFETIME=12h, or maxLifetime',
    'in the section signers.spiffe of the file. Without a name it is one of the',
    'signer spiffe.',
    '',
  );
  return lines.join('\n');
}

/** docs/reference/configuration.md. */
export function referenceText(table: Table): string {
  const lines = [
    '# Configuration of the signer',
    '',
    '<!-- Written by scripts/configuration-reference.ts from the tables in signer/config: do not edit. -->',
    '',
    'Each setting has three names: a flag, an environment variable and a key of the configuration file. A flag wins',
    'over the environment, the environment over the file, the file over the default. Unknown names are errors, and',
    'all problems are reported at once, each with its place: before anything starts, and with',
    '`kubespiffe signer --check-config` without starting anything. An empty variable counts as not set.',
    '',
    '```yaml',
    `# kubespiffe signer --config signer.yaml, or ${fileVariable}=signer.yaml`,
    `apiVersion: ${fileHeader.apiVersion}`,
    `kind: ${fileHeader.kind}`,
    'trustDomain: example.org',
    'logLevel: debug',
    'signers:',
    '  spiffe:',
    '    maxLifetime: 12h',
    '```',
    '',
    'Durations are numbers with units, from large to small: `d`, `h`, `m`, `s`, `ms`.',
  ];
  for (const section of settingSections) {
    lines.push('', `## ${section}`);
    if (section === 'Signers') lines.push('', ...aboutSigners);
    const entries = table.entries.filter((entry) => entry.setting.section === section);
    for (const [key, ofKey] of Map.groupBy(entries, (entry) => entry.key)) {
      const header = ['| flag | variable | value | default |', '|---|---|---|---|'];
      lines.push('', `### ${key}`, '', ofKey[0]?.setting.description ?? '', '', ...header, ...ofKey.map(row));
    }
  }
  return `${lines.join('\n')}\n`;
}

const aboutSigners = [
  'Each signer has a section in the file, `signers.spiffe` for the signer `kubespiffe.io/spiffe`. Flags and variables',
  'begin with the name of the signer. The names without it, which are also keys at the top of the file, mean the',
  'signer `spiffe`. A setting that has different values under both names is an error, wherever they are set.',
  '',
  'The signer `pod-identity` issues from the pool of the signer `spiffe`, with its lifetimes: all settings that it does',
  'not have itself are those of `spiffe`.',
];

function row({ setting, names }: Entry): string {
  const all = (name: keyof Names) => names.map((one) => `\`${one[name]}\``).join(', ');
  return `| ${all('flag')} | ${all('variable')} | ${setting.type.rule} | ${shortDefault(setting)} |`;
}

function shortDefault({ default: text, otherwise, required }: Setting<unknown>): string {
  if (required) return '**required**';
  return text === undefined ? (otherwise ?? '') : `\`${text}\``;
}

function fallback(setting: Setting<unknown>): string {
  return setting.required ? '(required)' : `(default: ${shortDefault(setting)})`;
}

const plain = (markdown: string): string => markdown.replaceAll('`', '');

/** A flag, and below it its description, wrapped for a terminal of 80 columns. */
function flagLines(flag: string, description: string): string[] {
  const lines = [`  ${flag}`];
  let line = '     ';
  for (const word of description.split(' ')) {
    if (line.length + 1 + word.length > 80) {
      lines.push(line);
      line = '     ';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
