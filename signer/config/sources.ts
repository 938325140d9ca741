import { nearest } from './nearest.ts';
import { flagOf, type SettingKey, settingKeys, settings, variableOf } from './settings.ts';

/** A value that somebody gave to a setting, as written. */
export interface Given {
  key: SettingKey;
  text: string;
  /** Where it was written, such as `flag --pool`. */
  place: string;
}

/** What is wrong, and where. The message ends with what to do about it. */
export interface Mistake {
  place: string;
  message: string;
}

export interface Source {
  given: Given[];
  mistakes: Mistake[];
}

export interface Flags extends Source {
  /** `--config`: the configuration file. */
  file: string | undefined;
  /** `--check-config`: say whether the configuration is good, and end. */
  checkOnly: boolean;
  help: boolean;
}

const switches = ['--check-config', '--help'];
const keyOfFlag = new Map<string, SettingKey | 'config'>([
  ['--config', 'config'],
  ...settingKeys.map((key) => [flagOf(key), key] as const),
]);

/** Reads flags: `--name value` or `--name=value`, each at most once. */
export function readFlags(argv: readonly string[]): Flags {
  const flags: Flags = { given: [], mistakes: [], file: undefined, checkOnly: false, help: false };
  const seen = new Set<string>();
  for (let i = 0; i < argv.length; i += 1) {
    const argument = argv[i] ?? '';
    const equals = argument.indexOf('=');
    const name = equals < 0 ? argument : argument.slice(0, equals);
    const place = `flag ${name}`;
    const key = keyOfFlag.get(name);

    if (name === '--help' || name === '-h') flags.help = true;
    else if (argument === '--check-config') flags.checkOnly = true;
    else if (!name.startsWith('-')) {
      flags.mistakes.push({
        place: 'arguments',
        message: `"${argument}" is not expected here; settings are flags`,
      });
    } else if (key === undefined) {
      const guess = nearest(name, [...keyOfFlag.keys(), ...switches]);
      flags.mistakes.push({
        place,
        message: `there is no such flag${guess ? `; did you mean ${guess}?` : ''}`,
      });
    } else {
      const following = argv[i + 1];
      const isSeparate = equals < 0 && following !== undefined && !following.startsWith('--');
      if (isSeparate) i += 1;
      const value = equals < 0 ? (isSeparate ? following : '') : argument.slice(equals + 1);
      const rule = key === 'config' ? 'path of a file' : settings[key].type.rule;
      if (value === '') flags.mistakes.push({ place, message: `needs a value; ${rule}` });
      else if (seen.has(name)) flags.mistakes.push({ place, message: 'is given twice; give it once' });
      else if (key === 'config') flags.file = value;
      else flags.given.push({ key, text: value, place });
      seen.add(name);
    }
  }
  return flags;
}

const keyOfVariable = new Map<string, SettingKey>(settingKeys.map((key) => [variableOf(key), key]));

/** The environment's way to name the configuration file. */
export const fileVariable = 'KUBESPIFFE_CONFIG';

/** Variables with our prefix that are no settings: the file's, the launcher's Node, and what steers the tests. */
const otherVariables = /^KUBESPIFFE_(CONFIG$|NODE$|TEST_)/;

// For a Service named kubespiffe-… Kubernetes puts such variables into every pod of the namespace.
const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/** Reads `KUBESPIFFE_…` variables. An empty one counts as not set, as manifests often can say no more. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Source {
  const source: Source = { given: [], mistakes: [] };
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('KUBESPIFFE_') || !value || otherVariables.test(name)) continue;
    const place = `environment ${name}`;
    const key = keyOfVariable.get(name);
    if (key) source.given.push({ key, text: value, place });
    else if (!serviceLink.test(name)) {
      const guess = nearest(name, [...keyOfVariable.keys(), fileVariable]);
      source.mistakes.push({
        place,
        message: `there is no such setting${guess ? `; did you mean ${guess}?` : ''}`,
      });
    }
  }
  return source;
}
