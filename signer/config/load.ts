import { hostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { messageOf } from '../../spiffe/errors.ts';
import { policyProblem } from '../authority/rotation-policy.ts';
import { type Config, resolve, type SignerConfig, type Values } from './config.ts';
import { audienceClash } from './endpoints.ts';
import { readConfigFile } from './file.ts';
import { helpText } from './help.ts';
import { timingOf } from './rotation.ts';
import type { Setting } from './setting.ts';
import { signerSettings } from './signer-settings.ts';
import {
  fileVariable,
  type Given,
  type Problem,
  readEnvironment,
  readFlags,
  type Source,
} from './sources.ts';
import { type Entry, table as knownTable, type Table } from './table.ts';

export type LoadedConfig =
  /** `summary` has a line per setting: its value as written and where it comes from. */
  | { kind: 'config'; config: Config; summary: string; checkOnly: boolean }
  | { kind: 'help'; text: string }
  | { kind: 'problems'; problems: readonly Problem[] };

export interface ConfigSources {
  /** Arguments after `kubespiffe signer`. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): Promise<string>;
  /** Stand in for a replica name outside a cluster; the machine's and the process's own when left out. */
  host?: { name: string; pid: number };
}

/**
 * Reads the configuration from flags, environment and file, in this order of precedence, and reports all problems
 * at once: a value that is overridden must be right too, or it would fail when the other one is removed.
 */
export async function loadConfig(sources: ConfigSources, table: Table = knownTable): Promise<LoadedConfig> {
  const { argv, env, readFile, host } = sources;
  const flags = readFlags(argv, table);
  if (flags.help) return { kind: 'help', text: helpText(table) };
  const read = [flags, readEnvironment(env, table)];
  const path = flags.file ?? env[fileVariable];
  if (path) read.push(await readFileSource(path, readFile, table));

  const problems = read.flatMap((source) => source.problems);
  const given = read.flatMap((source) => source.given);
  const settled = settle(given, table, problems);
  for (const { setting, names } of table.entries) {
    if (setting.required && !given.some((one) => one.names === names[0])) {
      problems.push({ place: `flag ${names[0].flag}`, message: `is required; ${setting.type.rule}` });
    }
  }
  problems.push(...missing(settled, table), ...clashing(settled, table));
  if (problems.length > 0) return { kind: 'problems', problems };
  const config = resolve(settled.values, env, host ?? { name: hostname(), pid: process.pid });
  const rash = rashRotations(config, settled, table);
  if (rash.length > 0) return { kind: 'problems', problems: rash };
  const summary = summarize(settled, table, config);
  return { kind: 'config', config, summary, checkOnly: flags.checkOnly };
}

/** All problems as text, one a line. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ place, message }) => `${place}: ${message}`).join('\n');
}

async function readFileSource(
  path: string,
  readFile: ConfigSources['readFile'],
  table: Table,
): Promise<Source> {
  let content: string;
  try {
    content = await readFile(path);
  } catch (error) {
    return { given: [], problems: [{ place: path, message: `cannot be read: ${messageOf(error)}` }] };
  }
  return readConfigFile(path, content, table);
}

/** What counts of each setting. Complete only if no problem was found. */
interface Settled {
  readonly values: Values;
  /** Where a value comes from; absent where it is the default. */
  origin(entry: Entry): Given | undefined;
}

/** Reads each value that was given; the first of each setting counts. */
function settle(given: readonly Given[], table: Table, problems: Problem[]): Settled {
  const read = new Map<Entry, { value: unknown; from: Given }>();
  for (const one of given) {
    const { entry, names, text, place } = one;
    const { type } = entry.setting;
    const parsed = type.parse(text);
    const first = read.get(entry);
    if (!parsed.ok) problems.push({ place, message: `"${text.slice(0, 100)}" ${parsed.reason}` });
    else if (!first) read.set(entry, { value: parsed.value, from: one });
    else if (first.from.names !== names && !isDeepStrictEqual(first.value, parsed.value)) {
      const message = `"${text.slice(0, 100)}" contradicts "${first.from.text}" of ${first.from.place}; both names mean ${entry.names[0].path}, so set only one of them`;
      problems.push({ place, message });
    }
  }
  const valueFor = (entry: Entry) => read.get(entry)?.value ?? defaultOf(entry.setting);
  const valuesOf = (signer?: string) =>
    table.entries
      .filter((entry) => entry.signer === signer)
      .map((entry) => [entry.key, valueFor(entry)] as const);
  const otherwise = Object.entries(signerSettings).map(
    ([key, setting]) => [key, defaultOf(setting)] as const,
  );
  const values = {
    shared: Object.fromEntries(valuesOf()),
    signers: Object.fromEntries(
      table.signers.map((signer) => {
        const other = table.others.get(signer);
        const values = [...otherwise, ...(other === undefined ? [] : valuesOf(other)), ...valuesOf(signer)];
        return [signer, Object.fromEntries(values)];
      }),
    ),
  };
  return { values: values as unknown as Values, origin: (entry) => read.get(entry)?.from };
}

function defaultOf({ type, default: text }: Setting<unknown>): unknown {
  const read = text === undefined ? undefined : type.parse(text);
  return read?.ok ? read.value : undefined;
}

/** What a setting that is set needs of other ones. */
function missing({ values, origin }: Settled, table: Table): Problem[] {
  const valueIn = ({ key, signer }: Entry) => {
    const { [signer ?? '']: section = values.shared }: Record<string, object> = values.signers;
    return (section as Record<string, unknown>)[key];
  };
  const flagOf = (entry: Entry) => (origin(entry)?.names ?? entry.names[0]).flag;
  return table.entries.filter(valueIn).flatMap((entry) =>
    (entry.setting.needs ?? []).flatMap((path) => {
      const needed = table.byPath.get(path)?.entry;
      if (!needed || valueIn(needed)) return [];
      const message =
        valueIn(needed) === false
          ? `must be true with ${flagOf(entry)}`
          : `is required with ${flagOf(entry)}; ${needed.setting.type.rule}`;
      return [{ place: `flag ${flagOf(needed)}`, message }];
    }),
  );
}

/** What is right by itself and wrong beside another setting. */
function clashing({ values, origin }: Settled, table: Table): Problem[] {
  const message = audienceClash(values.shared);
  if (message === undefined) return [];
  const [x509, token] = ['x509Audience', 'tokenAudience'].map((path) => {
    const entry = table.byPath.get(path)?.entry;
    return entry && origin(entry);
  });
  return [{ place: (x509 ?? token)?.place ?? 'flag --x509-audience', message }];
}

/** Rotations in which a step would come too late for the one after it. */
function rashRotations({ signers, endpoints }: Config, { origin }: Settled, table: Table): Problem[] {
  return table.signers.flatMap((name) => {
    const { [name]: signer }: Record<string, SignerConfig> = signers;
    const rotated = table.others.has(name) ? undefined : signer?.rotation;
    const problem = signer && rotated && policyProblem(rotated.policy, timingOf(signer, endpoints?.token));
    const entry = problem && table.byPath.get(`signers.${name}.${problem.setting}`)?.entry;
    if (!problem || !entry) return [];
    return [{ place: origin(entry)?.place ?? `flag ${entry.names[0].flag}`, message: problem.message }];
  });
}

function summarize({ origin }: Settled, table: Table, config: Config): string {
  const derived: Record<string, string> = { namespace: config.namespace, replica: config.replica };
  const line = (entry: Entry): string => {
    const { key, setting } = entry;
    const from = origin(entry);
    const shown =
      (entry.signer === undefined && derived[key]) || (from?.text ?? setting.default ?? '(not set)');
    const note =
      setting.default === undefined ? (setting.otherwise?.replaceAll('`', '') ?? 'not set') : 'default';
    return `${key}: ${shown}   # ${from?.place ?? note}`;
  };
  const linesOf = (signer?: string) => table.entries.filter((entry) => entry.signer === signer).map(line);
  const lines = [
    ...linesOf(),
    'signers:',
    ...table.signers.flatMap((signer) => [`  ${signer}:`, ...linesOf(signer).map((text) => `    ${text}`)]),
  ];
  return `${lines.join('\n')}\n`;
}
