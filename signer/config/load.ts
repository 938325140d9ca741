import { hostname } from 'node:os';
import { messageOf } from '../../spiffe/errors.ts';
import { shortName } from '../kube/short-name.ts';
import type { LogLevel } from '../observe/log.ts';
import type { ListenAddress } from '../observe/server.ts';
import { audienceClash, type EndpointConfig, resolveEndpoints } from './endpoints.ts';
import { readConfigFile } from './file.ts';
import { helpText } from './help.ts';
import type { Setting } from './setting.ts';
import { flagOf, type SettingKey, type SettingValues, settingKeys, settings } from './settings.ts';
import {
  fileVariable,
  type Given,
  type Mistake,
  readEnvironment,
  readFlags,
  type Source,
} from './sources.ts';
import type { NamespacedName } from './values.ts';

/** The signer's configuration, complete and valid. */
export interface Config {
  readonly trustDomain: string;
  /** The Secret with the authorities. */
  readonly pool: NamespacedName;
  /** Last part of the ClusterTrustBundle's name, after `kubespiffe.io:spiffe:`. */
  readonly bundleSuffix: string;
  /** Name of the ConfigMap with the roots in namespaces that opted in; undefined for none. */
  readonly rootsConfigMap: string | undefined;
  /** What keeps others than nodes from creating requests. */
  readonly requestAdmission: 'policy' | 'external';
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Where the Leases are. */
  readonly namespace: string;
  /** Name of this replica, at most 128 characters: its field manager, holder of its Lease, reporter of its Events. */
  readonly replica: string;
  readonly maxLifetimeSeconds: number;
  readonly refreshFraction: number;
  /** Whether leaves name their pod. */
  readonly leafPodIdentity: boolean;
  /** The issuer that leaves name; undefined for none. */
  readonly leafIssuer: string | undefined;
  readonly concurrency: number;
  readonly takeoverDelayMs: number;
  readonly metricsAddress: ListenAddress;
  readonly logLevel: LogLevel;
  /** Undefined: nothing listens to others. */
  readonly endpoints: EndpointConfig | undefined;
}

export type LoadedConfig =
  /** `summary` has a line per setting: its value as written and where it comes from. */
  | { kind: 'config'; config: Config; summary: string; checkOnly: boolean }
  | { kind: 'help'; text: string }
  | { kind: 'mistakes'; mistakes: readonly Mistake[] };

export interface ConfigSources {
  /** Arguments after `kubespiffe signer`. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): Promise<string>;
  /** Stand in for a replica name outside a cluster; the machine's and the process's own when left out. */
  host?: { name: string; pid: number };
}

/**
 * Reads the configuration from flags, environment and file, in this order of precedence, and reports all mistakes
 * at once: a value that is overridden must be right too, or it would bite when the other one is taken away.
 */
export async function loadConfig({ argv, env, readFile, host }: ConfigSources): Promise<LoadedConfig> {
  const flags = readFlags(argv);
  if (flags.help) return { kind: 'help', text: helpText() };
  const sources = [flags, readEnvironment(env)];
  const path = flags.file ?? env[fileVariable];
  if (path) sources.push(await readFileSource(path, readFile));

  const mistakes = sources.flatMap((source) => source.mistakes);
  const given = sources.flatMap((source) => source.given);
  const defaults = settingKeys.flatMap((key) => defaultOf(key));
  const { values, origins } = readValues([...given, ...defaults], mistakes);
  for (const key of settingKeys) {
    if ('required' in settings[key] && !given.some((one) => one.key === key)) {
      mistakes.push({ place: `flag ${flagOf(key)}`, message: `is required; ${settings[key].type.rule}` });
    }
  }
  mistakes.push(...missing(values), ...clashing(values, origins));
  if (mistakes.length > 0) return { kind: 'mistakes', mistakes };
  const config = resolve(values, env, host ?? { name: hostname(), pid: process.pid });
  return { kind: 'config', config, summary: summarize(origins, config), checkOnly: flags.checkOnly };
}

/** All mistakes as text, one a line. */
export function formatMistakes(mistakes: readonly Mistake[]): string {
  return mistakes.map(({ place, message }) => `${place}: ${message}`).join('\n');
}

/** What a setting that was given demands of another one. */
function missing(values: SettingValues): Mistake[] {
  const demands: readonly [asks: SettingKey, asked: SettingKey][] = [
    ['tokenAddress', 'jwtIssuer'],
    ['leafIssuer', 'jwtIssuer'],
    ['x509Svid', 'tokenAddress'],
    ['tokenClientCertificates', 'leafPodIdentity'],
    ['bundleWebAddress', 'bundleWebCertificate'],
    ['bundleWebAddress', 'bundleWebKey'],
  ];
  return demands
    .filter(([asks, asked]) => values[asks] && !values[asked])
    .map(([asks, asked]) => ({
      place: `flag ${flagOf(asked)}`,
      message:
        values[asked] === false
          ? `must be true with ${flagOf(asks)}`
          : `is required with ${flagOf(asks)}; ${settings[asked].type.rule}`,
    }));
}

/** What is right by itself and wrong beside another setting. */
function clashing(values: SettingValues, origins: ReadonlyMap<SettingKey, Given>): Mistake[] {
  const message = audienceClash(values);
  if (message === undefined) return [];
  const given = origins.get('x509Audience') ?? origins.get('tokenAudience');
  return [{ place: given?.place ?? `flag ${flagOf('x509Audience')}`, message }];
}

async function readFileSource(path: string, readFile: ConfigSources['readFile']): Promise<Source> {
  let content: string;
  try {
    content = await readFile(path);
  } catch (error) {
    return { given: [], mistakes: [{ place: path, message: `cannot be read: ${messageOf(error)}` }] };
  }
  return readConfigFile(path, content);
}

function defaultOf(key: SettingKey): Given[] {
  const { default: text }: Setting<unknown> = settings[key];
  return text === undefined ? [] : [{ key, text, place: 'default' }];
}

/** Reads each value that was given; the first of each setting counts. Complete only if no mistake was found. */
function readValues(given: readonly Given[], mistakes: Mistake[]) {
  const values: Record<string, unknown> = Object.fromEntries(settingKeys.map((key) => [key, undefined]));
  const origins = new Map<SettingKey, Given>();
  for (const one of given) {
    const read = settings[one.key].type.parse(one.text);
    if (!read.ok) mistakes.push({ place: one.place, message: `"${one.text.slice(0, 100)}" ${read.reason}` });
    else if (!origins.has(one.key)) {
      values[one.key] = read.value;
      origins.set(one.key, one);
    }
  }
  return { values: values as unknown as SettingValues, origins };
}

function resolve(
  values: SettingValues,
  env: ConfigSources['env'],
  host: { name: string; pid: number },
): Config {
  const {
    trustDomain,
    pool,
    bundleSuffix,
    rootsConfigMap,
    requestAdmission,
    kubeconfig,
    context,
    refreshFraction,
    concurrency,
  } = values;
  const namespace = values.namespace ?? (env.POD_NAMESPACE || pool.namespace);
  return {
    trustDomain,
    pool,
    bundleSuffix,
    rootsConfigMap,
    requestAdmission,
    kubeconfig,
    context,
    namespace,
    replica: shortName(values.replica ?? (env.POD_NAME || replicaName(host)), longestReplicaName),
    maxLifetimeSeconds: Math.floor(values.maxLifetime / 1000),
    refreshFraction,
    leafPodIdentity: values.leafPodIdentity,
    leafIssuer: values.leafIssuer ? values.jwtIssuer : undefined,
    concurrency,
    takeoverDelayMs: values.takeoverDelay,
    metricsAddress: values.metricsAddress,
    logLevel: values.logLevel,
    endpoints: resolveEndpoints(values, namespace),
  };
}

/** Most characters that the API server takes of a field manager, and of the reporter of an Event. */
const longestReplicaName = 128;

/** A host name may have capitals and underscores and be long; the name of a Lease may not. */
function replicaName(host: { name: string; pid: number }): string {
  const name = host.name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 50)
    .replace(/^-+|-+$/g, '');
  return `${name || 'host'}-${host.pid}`;
}

function summarize(origins: ReadonlyMap<SettingKey, Given>, config: Config): string {
  const lines = settingKeys.map((key) => {
    const origin = origins.get(key);
    const derived = key === 'namespace' ? config.namespace : '(not set)';
    const text = key === 'replica' ? config.replica : (origin?.text ?? derived);
    return `${key}: ${text}   # ${origin?.place ?? settingNote(key)}`;
  });
  return `${lines.join('\n')}\n`;
}

function settingNote(key: SettingKey): string {
  const { otherwise }: Setting<unknown> = settings[key];
  return otherwise?.replaceAll('`', '') ?? 'not set';
}
