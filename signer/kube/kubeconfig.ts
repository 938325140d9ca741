import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isJsonObject } from '../../spiffe/json.ts';
import { textOf } from '../../spiffe/pki/text.ts';

/** A cluster of a kubeconfig. Paths are absolute. */
export interface KubeconfigCluster {
  readonly server: string;
  readonly ca: Material | undefined;
  readonly isInsecure: boolean;
  readonly serverName: string | undefined;
  readonly proxyUrl: string | undefined;
  /** Passed to exec plugins, from the cluster's extension `client.authentication.k8s.io/exec`. */
  readonly execConfig: unknown;
}

/** PEM: in the kubeconfig itself, or a file that may be replaced at any time. */
export type Material = { readonly data: Buffer } | { readonly file: string };

export interface KubeconfigUser {
  readonly certificate: Material | undefined;
  readonly key: Material | undefined;
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  readonly username: string;
  readonly password: string;
  readonly exec: ExecConfig | undefined;
  readonly authProvider: { readonly name: string; readonly config: Fields } | undefined;
  readonly as: string | undefined;
  readonly asUid: string | undefined;
  readonly asGroups: readonly string[];
  readonly asUserExtra: Readonly<Record<string, readonly string[]>>;
}

export interface ExecConfig {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  readonly installHint: string | undefined;
  readonly providesClusterInfo: boolean;
  readonly interactiveMode: string;
}

/** What a context of the kubeconfig names. */
export interface KubeconfigChoice {
  /** The name of the context. */
  readonly context: string;
  readonly namespace: string | undefined;
  readonly cluster: KubeconfigCluster;
  /** Undefined where the context names no user. */
  readonly user: KubeconfigUser | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** An entry of one of the lists, with the folder that its relative paths start from. */
interface Entry {
  readonly fields: Fields;
  readonly folder: string;
}

interface Merged {
  currentContext: string | undefined;
  readonly contexts: Map<string, Entry>;
  readonly clusters: Map<string, Entry>;
  readonly users: Map<string, Entry>;
}

/**
 * Reads kubeconfig files as kubectl does (client-go's tools/clientcmd): of several files, the first that has an entry of
 * a name wins, and so does the first current-context. Empty files are skipped.
 *
 * @throws Error that says what is wrong; never with a value of a secret field.
 */
export async function readKubeconfig(
  files: readonly string[],
  context: string | undefined,
): Promise<KubeconfigChoice> {
  const merged: Merged = {
    currentContext: undefined,
    contexts: new Map(),
    clusters: new Map(),
    users: new Map(),
  };
  for (const file of files) await addFile(merged, file);
  return choose(merged, context ?? merged.currentContext);
}

async function addFile(merged: Merged, file: string): Promise<void> {
  // A signer in a pod has no kubeconfig, and starts without this.
  const { parse } = await import('yaml');
  // Warnings would go to standard error with a line of the file, which may be a token. Errors are still thrown.
  const content: unknown = parse(textOf(await readFile(file)), { logLevel: 'error' });
  if (content === null || content === undefined) return;
  if (!isJsonObject(content)) throw new Error(`${file} holds no kubeconfig`);
  const kind = textIn(content, 'kind', file);
  if (kind !== undefined && kind !== 'Config') throw new Error(`${file} holds an object of kind ${kind}`);
  merged.currentContext ??= textIn(content, 'current-context', file);
  const folder = path.dirname(path.resolve(file));
  for (const [list, inner] of [
    ['contexts', 'context'],
    ['clusters', 'cluster'],
    ['users', 'user'],
  ] as const) {
    const entries = content[list] ?? [];
    if (!Array.isArray(entries)) throw new Error(`${list} of ${file} is not a list`);
    const own = new Set<string>();
    for (const [index, entry] of entries.entries()) {
      const where = `${list}[${index}] of ${file}`;
      if (!isJsonObject(entry)) throw new Error(`${where} is not an object`);
      const name = textIn(entry, 'name', where) ?? '';
      if (own.has(name)) throw new Error(`${list} of ${file} has "${name}" twice`);
      own.add(name);
      const fields = fieldsOf(entry, inner, where);
      if (!merged[list].has(name)) merged[list].set(name, { fields, folder });
    }
  }
}

function choose({ contexts, clusters, users }: Merged, name: string | undefined): KubeconfigChoice {
  if (name === undefined) throw new Error('it has no current context');
  const context = contexts.get(name)?.fields;
  if (!context) throw new Error(`context "${name}" is not in it`);
  const text = (field: string) => textIn(context, field, `context "${name}"`);
  const [clusterName = '', userName] = [text('cluster'), text('user')];
  const cluster = clusters.get(clusterName);
  if (!cluster) throw new Error(`cluster "${clusterName}" is not in it`);
  const user = userName === undefined ? undefined : users.get(userName);
  if (userName !== undefined && !user) throw new Error(`user "${userName}" is not in it`);
  return {
    context: name,
    namespace: text('namespace'),
    cluster: toCluster(cluster, `cluster "${clusterName}"`),
    user: user && toUser(user, `user "${userName}"`),
  };
}

function toCluster({ fields, folder }: Entry, where: string): KubeconfigCluster {
  const server = textIn(fields, 'server', where);
  if (server === undefined) throw new Error(`${where} has no server`);
  const ca = materialOf(fields, 'certificate-authority', folder, where);
  const isInsecure = flagOf(fields, 'insecure-skip-tls-verify', where);
  if (ca && isInsecure) {
    throw new Error(`${where} has both a certificate authority and insecure-skip-tls-verify`);
  }
  const extensions = Array.isArray(fields.extensions) ? fields.extensions : [];
  return {
    server,
    ca,
    isInsecure,
    serverName: textIn(fields, 'tls-server-name', where),
    proxyUrl: textIn(fields, 'proxy-url', where),
    execConfig: extensions.find((each) => each?.name === 'client.authentication.k8s.io/exec')?.extension,
  };
}

function toUser({ fields, folder }: Entry, where: string): KubeconfigUser {
  const text = (field: string) => textIn(fields, field, where);
  const tokenFile = text('tokenFile');
  const user: KubeconfigUser = {
    certificate: materialOf(fields, 'client-certificate', folder, where),
    key: materialOf(fields, 'client-key', folder, where),
    token: text('token'),
    tokenFile: tokenFile === undefined ? undefined : path.resolve(folder, tokenFile),
    username: text('username') ?? '',
    password: text('password') ?? '',
    exec: isJsonObject(fields.exec) ? toExec(fields.exec, folder, `exec of ${where}`) : undefined,
    authProvider: isJsonObject(fields['auth-provider'])
      ? {
          name: textIn(fields['auth-provider'], 'name', `auth-provider of ${where}`) ?? '',
          config: fieldsOf(fields['auth-provider'], 'config', `auth-provider of ${where}`),
        }
      : undefined,
    as: text('as'),
    asUid: text('as-uid'),
    asGroups: listOf(fields, 'as-groups', where),
    asUserExtra: Object.fromEntries(
      Object.keys(fieldsOf(fields, 'as-user-extra', where)).map((key) => [
        key,
        listOf(fieldsOf(fields, 'as-user-extra', where), key, `as-user-extra of ${where}`),
      ]),
    ),
  };
  checkUser(user, where);
  return user;
}

function checkUser(user: KubeconfigUser, where: string): void {
  if (user.certificate && !user.key) throw new Error(`${where} has a client certificate without client-key`);
  if (user.token !== undefined && (user.username !== '' || user.password !== '')) {
    throw new Error(`${where} has both a token and a username: leave one out`);
  }
  if (user.exec && user.authProvider) throw new Error(`${where} has both exec and auth-provider`);
  const isForMore =
    user.asUid !== undefined || user.asGroups.length > 0 || Object.keys(user.asUserExtra).length > 0;
  if (isForMore && user.as === undefined) {
    throw new Error(`${where} has as-uid, as-groups or as-user-extra without as`);
  }
}

function toExec(fields: Fields, folder: string, where: string): ExecConfig {
  const text = (field: string) => textIn(fields, field, where);
  const command = text('command');
  if (command === undefined) throw new Error(`${where} has no command`);
  const apiVersion = text('apiVersion');
  const mode = text('interactiveMode');
  if (apiVersion !== undefined && !execVersions.includes(apiVersion)) {
    throw new Error(`${where} has apiVersion ${apiVersion}, and ${execVersions.join(' and ')} are known`);
  }
  if (apiVersion === undefined) throw new Error(`${where} has no apiVersion`);
  if (mode === undefined && apiVersion === execVersions[0]) {
    throw new Error(`${where} has no interactiveMode: it is Never, IfAvailable or Always`);
  }
  const interactiveMode = mode ?? 'IfAvailable';
  if (!['Never', 'IfAvailable', 'Always'].includes(interactiveMode)) {
    throw new Error(`${where} has interactiveMode ${interactiveMode}: it is Never, IfAvailable or Always`);
  }
  const env = Array.isArray(fields.env) ? fields.env : [];
  return {
    // A command without a slash is searched on the PATH.
    command: command.includes(path.sep) ? path.resolve(folder, command) : command,
    args: listOf(fields, 'args', where),
    env: Object.fromEntries(
      env.map((each: Fields, index) => {
        const name = textIn(each, 'name', `env[${index}] of ${where}`);
        if (name === undefined) throw new Error(`env[${index}] of ${where} has no name`);
        return [name, textIn(each, 'value', `env[${index}] of ${where}`) ?? ''];
      }),
    ),
    apiVersion,
    installHint: text('installHint'),
    providesClusterInfo: flagOf(fields, 'provideClusterInfo', where),
    interactiveMode,
  };
}

const execVersions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];

/** A file of its own, or the content as base64: kubectl refuses both at once. */
function materialOf(fields: Fields, name: string, folder: string, where: string): Material | undefined {
  const [file, data] = [textIn(fields, name, where), textIn(fields, `${name}-data`, where)];
  if (file !== undefined && data !== undefined) {
    throw new Error(`${where} has both ${name} and ${name}-data: leave one out`);
  }
  if (file !== undefined) return { file: path.resolve(folder, file) };
  if (data === undefined) return undefined;
  const text = data.replaceAll(/[\r\n]/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new Error(`${name}-data of ${where} is not base64`);
  }
  return { data: Buffer.from(text, 'base64') };
}

/** Reads a field of one type, or what stands for a field that is left out. The value may be a secret, so no error quotes it. */
function fieldReader<T>(isRight: (value: unknown) => value is T, what: string, otherwise: T) {
  return (fields: Fields, name: string, where: string): T => {
    const value = fields[name] ?? otherwise;
    if (!isRight(value)) throw new Error(`${name} of ${where} is not ${what}`);
    return value;
  };
}

const isText = (value: unknown) => typeof value === 'string';
const isFlag = (value: unknown) => typeof value === 'boolean';
const isList = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const flagOf = fieldReader(isFlag, 'true or false', false);
const listOf = fieldReader(isList, 'a list of strings', []);
const fieldsOf = fieldReader<Fields>(isJsonObject, 'an object', {});
const readText = fieldReader(isText, 'a string', '');

/** Empty counts as left out, as in kubectl. */
function textIn(...field: Parameters<typeof readText>): string | undefined {
  return readText(...field) || undefined;
}
