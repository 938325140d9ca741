import { hostname } from 'node:os';
import { messageOf } from '../errors.ts';
import type { LogLevel } from '../observe/log.ts';
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
import type { HostPort, NamespacedName } from './values.ts';

/** The signer's configuration, complete and valid. */
export interface Config {
  readonly trustDomain: string;
  /** The Secret with the authorities. */
  readonly pool: NamespacedName;
  /** Last part of the ClusterTrustBundle's name, after `kubespiffe.io:spiffe:`. */
  readonly bundleSuffix: string;
  /** Name of the ConfigMap with the roots in namespaces that opted in; undefined for none. */
  readonly rootsConfigMap: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Where the Leases are. */
  readonly namespace: string;
  /** Name of this replica, fit for the name of a Lease. */
  readonly replica: string;
  readonly maxLifetimeSeconds: number;
  readonly refreshFraction: number;
  /** Whether leaves name their pod. */
  readonly leafPodIdentity: boolean;
  /** The issuer that leaves name; undefined for none. */
  readonly leafIssuer: string | undefined;
  readonly concurrency: number;
  readonly takeoverDelayMs: number;
  readonly metricsAddress: HostPort;
  readonly logLevel: LogLevel;
  /** Undefined: nothing listens to others. */
  readonly endpoints: EndpointConfig | undefined;
}

/** What listens to others, and what is common to all of it. */
export interface EndpointConfig {
  /** Of JWT-SVIDs and of the discovery document; there whenever there is a token endpoint. */
  readonly issuer: string | undefined;
  readonly refreshHintSeconds: number;
  /** DNS names of our own certificates. */
  readonly names: readonly string[];
  /** Requests a second. */
  readonly addressRate: number;
  readonly token: TokenConfig | undefined;
  readonly bundleWeb:
    | { readonly address: HostPort; readonly certificateFile: string; readonly keyFile: string }
    | undefined;
  readonly bundleSpiffe: { readonly address: HostPort } | undefined;
}

/** The token endpoint's configuration. */
export interface TokenConfig {
  readonly address: HostPort;
  /** What ServiceAccount tokens must be for; undefined for the endpoint's own SPIFFE ID. */
  readonly audience: string | undefined;
  readonly serviceAccountIssuers: readonly string[];
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Whether a client certificate stands in for a ServiceAccount token. */
  readonly clientCertificates: boolean;
  readonly issuer: string;
  readonly lifetimeSeconds: number;
  readonly algorithm: 'ES256' | 'RS256';
  readonly rs256Audiences: readonly string[];
  /** Undefined: no such limit. */
  readonly allowedAudiences: readonly string[] | undefined;
  readonly maxAudiences: number;
  readonly propagationDelaySeconds: number;
  readonly refreshHintSeconds: number;
  readonly reviewCacheMs: number;
  /** Requests a second. */
  readonly podRate: number;
  /** Undefined: no certificates. */
  readonly x509: { readonly audience: string | undefined; readonly lifetimeSeconds: number } | undefined;
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
  mistakes.push(...missing(values));
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
    kubeconfig,
    context,
    namespace,
    replica: values.replica ?? (env.POD_NAME || replicaName(host)),
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

function resolveEndpoints(values: SettingValues, namespace: string): EndpointConfig | undefined {
  const { bundleWebAddress, bundleWebCertificate, bundleWebKey, bundleSpiffeAddress } = values;
  const token = resolveToken(values);
  if (!token && !bundleWebAddress && !bundleSpiffeAddress) return undefined;
  const service = `kubespiffe-tokens.${namespace}.svc`;
  return {
    issuer: values.jwtIssuer,
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    names: values.tokenNames ?? [service, `${service}.cluster.local`],
    addressRate: values.tokenAddressRate,
    token,
    bundleWeb:
      bundleWebAddress && bundleWebCertificate !== undefined && bundleWebKey !== undefined
        ? { address: bundleWebAddress, certificateFile: bundleWebCertificate, keyFile: bundleWebKey }
        : undefined,
    bundleSpiffe: bundleSpiffeAddress && { address: bundleSpiffeAddress },
  };
}

function resolveToken(values: SettingValues): TokenConfig | undefined {
  const { tokenAddress, jwtIssuer } = values;
  if (!tokenAddress || !jwtIssuer) return undefined;
  return {
    address: tokenAddress,
    audience: values.tokenAudience,
    serviceAccountIssuers: values.serviceAccountIssuers ?? [],
    minTlsVersion: `TLSv${values.tokenTls}`,
    clientCertificates: values.tokenClientCertificates,
    issuer: jwtIssuer,
    lifetimeSeconds: Math.floor(values.jwtLifetime / 1000),
    algorithm: values.jwtAlgorithm,
    rs256Audiences: values.jwtRs256Audiences ?? [],
    allowedAudiences: values.jwtAudiences,
    maxAudiences: values.jwtMaxAudiences,
    propagationDelaySeconds: Math.ceil(values.jwtPropagationDelay / 1000),
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    reviewCacheMs: values.tokenReviewCache,
    podRate: values.tokenPodRate,
    x509: values.x509Svid
      ? { audience: values.x509Audience, lifetimeSeconds: Math.floor(values.x509Lifetime / 1000) }
      : undefined,
  };
}

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
    const derived = key === 'namespace' || key === 'replica' ? config[key] : '(not set)';
    return `${key}: ${origin?.text ?? derived}   # ${origin?.place ?? settingNote(key)}`;
  });
  return `${lines.join('\n')}\n`;
}

function settingNote(key: SettingKey): string {
  const { otherwise }: Setting<unknown> = settings[key];
  return otherwise?.replaceAll('`', '') ?? 'not set';
}
