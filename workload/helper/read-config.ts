import { resolve } from 'node:path';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import type { FileConfig, HealthConfig, HelperConfig, ParseOptions, SourceConfig } from './config.ts';
import { type Fields, fieldsOf, type Problem, type Tree } from './fields.ts';
import { readFileConfig } from './read-file-config.ts';
import { readReload } from './read-reload.ts';

/** What a configuration file begins with. */
export const header = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'HelperConfiguration' } as const;

/** What was read; a configuration is undefined where too much is missing. Without problems it is complete. */
export interface ConfigReading {
  readonly config: HelperConfig | undefined;
  readonly problems: readonly Problem[];
}

/** Reads what a configuration file with our header says. Every problem is listed. Never throws. */
export function readConfig(tree: Tree, options: ParseOptions): ConfigReading {
  const problems: Problem[] = [];
  const fields = fieldsOf(tree, '', problems);
  for (const [name, wanted] of Object.entries(header)) {
    if (fields.text(name) !== wanted) fields.problem(name, `must be ${wanted}`);
  }
  const given = readSource(fields.object('source'));
  const source = options.source ?? given;
  const folder = fields.text('folder');
  if (!fields.has('folder')) fields.problem('folder', 'is required: where the files go');
  const files = fields.objects('files').map(readFileConfig);
  const reload = readReload(fields.object('reload'));
  const health = readHealth(fields.object('health'), ['port', 'livePath', 'readyPath']);
  const once = fields.flag('once') ?? false;
  fields.end();
  return complete({ source, folder, files, reload, health, once }, problems);
}

/** Adds what only several keys together show. */
export function complete(
  { folder, files: [first, ...others], ...rest }: Draft,
  problems: Problem[],
): ConfigReading {
  const add = (place: string, message: string) => problems.push({ place, message });
  if (!first) add('files', 'is required: at least one file with name and content');
  if (!first || folder === undefined) return { config: undefined, problems };
  const files: HelperConfig['files'] = [first, ...others];
  const names = files.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) add('files', `has two files with the name ${twice}`);
  const { source } = rest;
  if (source.kind === 'folder') {
    if (resolve(source.credentials) === resolve(folder)) {
      add('folder', `is the folder of the source, ${folder}; choose another one`);
    }
    const needsTokens = files.find(({ content }) => content.kind === 'jwtSvid');
    if (needsTokens && !source.tokenEndpoint) {
      add('source.tokenEndpoint', `is required for the JWT-SVID in ${needsTokens.name}`);
    }
  }
  return { config: { ...rest, folder, files }, problems };
}

/** A configuration that may lack folder and files. */
type Draft = Omit<HelperConfig, 'folder' | 'files'> & {
  readonly folder: string | undefined;
  readonly files: readonly FileConfig[];
};

const defaultCredentials = '/run/spiffe';

function readSource(fields: Fields | undefined): SourceConfig {
  const source = fields?.has('socket') ? readSocket(fields) : readFolder(fields);
  fields?.end();
  return source;
}

function readSocket(fields: Fields): SourceConfig {
  const socket = fields.text('socket') ?? '';
  const address = parseEndpointAddress(socket);
  if (!address.ok && socket !== '') fields.problem('socket', address.reason);
  return { kind: 'socket', socket, hint: fields.text('hint') };
}

function readFolder(fields: Fields | undefined): SourceConfig {
  const own = fields?.text('trustDomain');
  const ownName = own === undefined ? undefined : parseTrustDomain(own);
  if (ownName && !ownName.ok) fields?.problem('trustDomain', ownName.reason);
  const named = fields?.object('bundles');
  const bundles: Record<string, readonly string[]> = {};
  for (const name of named?.names() ?? []) {
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) named?.problem(name, trustDomain.reason);
    bundles[name] = named?.texts(name) ?? [];
  }
  const endpoint = fields?.text('tokenEndpoint');
  const url = endpoint === undefined ? null : URL.parse(endpoint);
  if (endpoint !== undefined && url?.protocol !== 'https:') {
    fields?.problem('tokenEndpoint', 'is not a URL such as https://kubespiffe-tokens.kubespiffe.svc');
  }
  return {
    kind: 'folder',
    credentials: fields?.text('credentials') ?? defaultCredentials,
    trustDomain: own,
    bundles,
    tokenEndpoint: url ?? undefined,
    tokenFile: fields?.text('tokenFile'),
  };
}

/** @param names keys of port, live path and ready path. */
export function readHealth(
  fields: Fields | undefined,
  [port, live, ready]: readonly [string, string, string],
): HealthConfig | undefined {
  if (!fields) return undefined;
  const health = {
    port: readPort(fields, port),
    livePath: readPath(fields, live, '/live'),
    readyPath: readPath(fields, ready, '/ready'),
  };
  fields.end();
  return health;
}

/** A TCP port; 8081 by default, as with spiffe-helper. */
function readPort(fields: Fields, name: string): number {
  const text = fields.text(name) ?? '8081';
  if (/^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65_535) return Number(text);
  fields.problem(name, `${JSON.stringify(text)} is not a port`);
  return 0;
}

function readPath(fields: Fields, name: string, otherwise: string): string {
  const path = fields.text(name) ?? otherwise;
  if (!/^\/[^?#\s]*$/.test(path))
    fields.problem(name, `${JSON.stringify(path)} is not a path such as ${otherwise}`);
  return path;
}
