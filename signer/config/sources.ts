import { nearest } from '../../spiffe/nearest.ts';
import type { Named, Table } from './table.ts';

/** A value that was given to a setting, as written. */
export interface Given extends Named {
  text: string;
  /** Where it was written, such as `flag --pool`. */
  place: string;
}

/** What is wrong, and where. The message ends with what to do about it. */
export interface Problem {
  place: string;
  message: string;
}

export interface Source {
  given: Given[];
  problems: Problem[];
}

export interface Flags extends Source {
  /** `--config`: the configuration file. */
  file: string | undefined;
  /** `--check-config`: say whether the configuration is good, and end. */
  checkOnly: boolean;
  help: boolean;
}

/** Flags that are not settings. */
const otherFlags = ['--config', '--check-config', '--help'];

/** Reads flags: `--name value` or `--name=value`, each at most once. */
export function readFlags(argv: readonly string[], table: Table): Flags {
  const flags: Flags = { given: [], problems: [], file: undefined, checkOnly: false, help: false };
  const seen = new Set<string>();
  const refuse = (place: string, message: string) => flags.problems.push({ place, message });
  for (let i = 0; i < argv.length; i += 1) {
    const argument = argv[i] ?? '';
    const equals = argument.indexOf('=');
    const name = equals < 0 ? argument : argument.slice(0, equals);
    const place = `flag ${name}`;
    const named = table.byFlag.get(name);
    const isFile = name === '--config';

    if (name === '--help' || name === '-h') flags.help = true;
    else if (argument === '--check-config') flags.checkOnly = true;
    else if (!name.startsWith('-')) {
      refuse('arguments', `"${argument}" is not expected here; settings are flags`);
    } else if (!named && !isFile) {
      const guess = nearest(name, [...table.byFlag.keys(), ...otherFlags]);
      refuse(place, `there is no such flag${guess ? `; did you mean ${guess}?` : ''}`);
    } else {
      const following = argv[i + 1];
      const isSeparate = equals < 0 && following !== undefined && !following.startsWith('--');
      if (isSeparate) i += 1;
      const value = equals < 0 ? (isSeparate ? following : '') : argument.slice(equals + 1);
      const rule = named?.entry.setting.type.rule ?? 'path of a file';
      if (value === '') refuse(place, `needs a value; ${rule}`);
      else if (seen.has(name)) refuse(place, 'is given twice; give it once');
      else if (named) flags.given.push({ ...named, text: value, place });
      else flags.file = value;
      seen.add(name);
    }
  }
  return flags;
}

/** The environment's way to name the configuration file. */
export const fileVariable = 'KUBESPIFFE_CONFIG';

/** Variables with our prefix that are no settings: the file's, the launcher's Node, and what steers the tests. */
const otherVariables = /^KUBESPIFFE_(CONFIG$|NODE$|TEST_)/;

// For a Service named kubespiffe-… Kubernetes puts such variables into every pod of the namespace.
const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/** Reads `KUBESPIFFE_…` variables. An empty one counts as not set, as manifests often can say no more. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>, table: Table): Source {
  const source: Source = { given: [], problems: [] };
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('KUBESPIFFE_') || !value || otherVariables.test(name)) continue;
    const place = `environment ${name}`;
    const named = table.byVariable.get(name);
    if (named) source.given.push({ ...named, text: value, place });
    else if (!serviceLink.test(name)) {
      const guess = nearest(name, [...table.byVariable.keys(), fileVariable]);
      const message = `there is no such setting${guess ? `; did you mean ${guess}?` : ''}`;
      source.problems.push({ place, message });
    }
  }
  return source;
}
