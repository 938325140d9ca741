import { fileHeader } from './file.ts';
import type { Setting } from './setting.ts';
import { flagOf, type SettingKey, settingKeys, settings, variableOf } from './settings.ts';
import { fileVariable } from './sources.ts';

const sections = [...new Set(settingKeys.map((key) => settings[key].section))];
const inSection = (section: string) => settingKeys.filter((key) => settings[key].section === section);

/** What `kubespiffe signer --help` prints. */
export function helpText(): string {
  const lines = [
    'Answers the PodCertificateRequests of signer kubespiffe.io/spiffe and publishes',
    'its roots.',
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
  for (const section of sections) {
    lines.push('', section);
    for (const key of inSection(section)) {
      const { type, description } = settings[key];
      lines.push(
        ...flagLines(`${flagOf(key)} ${type.placeholder}`, `${plain(description)} ${plain(fallback(key))}`),
      );
    }
  }
  lines.push(
    '',
    `Each setting is also an environment variable (${variableOf('maxLifetime')}=12h) and a`,
    'key of the file (maxLifetime: 12h). A flag wins over the environment, the',
    'environment over the file.',
    '',
  );
  return lines.join('\n');
}

/** docs/reference/configuration.md. */
export function referenceText(): string {
  const lines = [
    '# Configuration of the signer',
    '',
    '<!-- Written by scripts/configuration-reference.ts from signer/config/settings.ts: do not edit. -->',
    '',
    'Each setting has three names: a flag, an environment variable and a key of the configuration file. A flag wins',
    'over the environment, the environment over the file, the file over the default. Unknown names are errors, and',
    'all mistakes are reported at once, each with its place: before anything starts, and with',
    '`kubespiffe signer --check-config` without starting anything. An empty variable counts as not set.',
    '',
    '```yaml',
    `# kubespiffe signer --config signer.yaml, or ${fileVariable}=signer.yaml`,
    `apiVersion: ${fileHeader.apiVersion}`,
    `kind: ${fileHeader.kind}`,
    'trustDomain: example.org',
    'maxLifetime: 12h',
    '```',
    '',
    'Durations are numbers with units, from large to small: `d`, `h`, `m`, `s`, `ms`.',
  ];
  for (const section of sections) {
    lines.push('', `## ${section}`);
    for (const key of inSection(section)) {
      const { type, description } = settings[key];
      lines.push(
        '',
        `### ${key}`,
        '',
        description,
        '',
        '| flag | variable | value | default |',
        '|---|---|---|---|',
      );
      lines.push(`| \`${flagOf(key)}\` | \`${variableOf(key)}\` | ${type.rule} | ${shortDefault(key)} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function shortDefault(key: SettingKey): string {
  const { default: text, otherwise, required }: Setting<unknown> = settings[key];
  if (required) return '**required**';
  return text === undefined ? (otherwise ?? '') : `\`${text}\``;
}

function fallback(key: SettingKey): string {
  const { default: text, otherwise, required }: Setting<unknown> = settings[key];
  if (required) return '(required)';
  return `(default: ${text ?? otherwise})`;
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
