import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { parseProxy, proxyFromEnvironment } from '../../client/proxy-environment.ts';
import type { HttpProxy } from '../../client/proxy-tunnel.ts';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { type ExecCredential, runExecPlugin } from './exec-plugin.ts';
import { impersonationHeaders } from './impersonation.ts';
import { type KubeconfigUser, type Material as PemSource, readKubeconfig } from './kubeconfig.ts';
import type { Time } from './time.ts';

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
/** A token or file is read again after this long. Kubelet rotates tokens long before they expire. */
const freshForMs = 10_000;

export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>;

/** The address of the API server, and the identity used there. */
export interface Credentials {
  readonly server: URL;
  /** TLS material for the next connection, read at the last authorization(). */
  readonly tls: TlsOptions;
  /**
   * The Authorization header, read again when it is older than 10 s. While a file cannot be read, the
   * last value stays in use.
   * @throws KubespiffeError CONFIG_INVALID when no value was ever read.
   */
  authorization(): Promise<string | undefined>;
  /** Call it after a 401. The next call reads the same context again and runs exec plugins again. */
  invalidate(): void;
  /** The namespace of the context or of the pod. */
  readonly namespace: string | undefined;
  /** The headers of impersonation, where the kubeconfig asks for it. */
  readonly impersonation?: Readonly<Record<string, string | string[]>>;
  /** The proxy for connections to the server. */
  readonly proxy?: HttpProxy | undefined;
}

export interface CredentialSources {
  /** A kubeconfig file; takes precedence over everything else. */
  kubeconfig?: string | undefined;
  /** A context of the kubeconfig, in place of its current one. */
  context?: string | undefined;
  /**
   * KUBECONFIG, KUBERNETES_SERVICE_HOST and _PORT, HOME, in the order of kubectl but for a pod's own account; the
   * proxy variables; and what exec plugins see.
   */
  env: Readonly<Record<string, string | undefined>>;
  /** The folder of a pod's token, ca.crt and namespace. */
  serviceAccountFolder?: string;
  time: Time;
  /** Running exec plugins are ended when it is aborted. */
  signal?: AbortSignal;
  /** Whether exec plugins may ask a person on standard input; by default where that is a terminal. */
  isTerminal?: boolean;
}

/**
 * Finds the credentials: the given kubeconfig, else the files of KUBECONFIG, else the pod's ServiceAccount, else
 * ~/.kube/config.
 * @throws KubespiffeError CONFIG_INVALID
 */
export async function loadCredentials(sources: CredentialSources): Promise<Credentials> {
  const { monotonic } = sources.time;
  let loaded = await load(sources);
  let state: Material = await loaded.read().catch((error: unknown) => {
    throw unusable(loaded.origin, error);
  });
  let readAt = monotonic();
  let isRefused = false;
  let reading: Promise<void> | undefined;

  /** The same context as at first. Where it names another server by now, its credentials must not be sent to this one. */
  async function reload(): Promise<Loaded> {
    const again = await load({ ...sources, context: loaded.context });
    return isDeepStrictEqual(whatStays(again), whatStays(loaded)) ? again : loaded;
  }

  async function refresh(): Promise<void> {
    try {
      if (isRefused) loaded = await reload();
      state = await loaded.read();
    } catch {
      // The file may be half replaced, or the exec plugin may fail for a moment. The last value may still be valid;
      // if not, the server answers 401.
    }
    isRefused = false;
    readAt = monotonic();
  }

  return {
    server: loaded.server,
    namespace: loaded.namespace,
    impersonation: loaded.impersonation,
    get proxy() {
      return loaded.proxy && { url: loaded.proxy, tls: state.tls };
    },
    get tls() {
      return state.tls;
    },
    async authorization() {
      if (isRefused || monotonic() - readAt >= freshForMs) {
        reading ??= refresh().finally(() => {
          reading = undefined;
        });
        await reading;
      }
      return state.authorization;
    },
    invalidate() {
      isRefused = true;
    },
  };
}

interface Material {
  readonly tls: TlsOptions;
  readonly authorization: string | undefined;
}

interface Loaded {
  readonly origin: string;
  /** Undefined for the ServiceAccount of a pod. */
  readonly context: string | undefined;
  readonly server: URL;
  /** The name that the certificate of the server must have, if it is not that of the URL. */
  readonly serverName?: string | undefined;
  readonly namespace: string | undefined;
  readonly impersonation: Readonly<Record<string, string | string[]>>;
  readonly proxy: URL | undefined;
  read(): Promise<Material>;
}

/** What was read once and stays in use. */
function whatStays({ server, serverName, impersonation }: Loaded): object {
  return { server: server.href, serverName, impersonation };
}

async function load(sources: CredentialSources): Promise<Loaded> {
  const { env } = sources;
  if (sources.kubeconfig) return loadFiles([sources.kubeconfig], sources);
  const listed = (env.KUBECONFIG ?? '').split(path.delimiter).filter((file) => file !== '');
  // Like kubectl: files of KUBECONFIG that do not exist are skipped. If none exists, the error names all of them.
  const present = listed.filter((file) => existsSync(file));
  if (listed.length > 0) return loadFiles(present.length > 0 ? present : listed, sources);
  if (env.KUBERNETES_SERVICE_HOST) return loadServiceAccount(sources);
  if (env.HOME) return loadFiles([path.join(env.HOME, '.kube', 'config')], sources);
  throw new KubespiffeError(
    'CONFIG_INVALID',
    'no credentials for the Kubernetes API: give --kubeconfig, set KUBECONFIG, or run in a pod',
  );
}

async function loadServiceAccount(sources: CredentialSources): Promise<Loaded> {
  const folder = sources.serviceAccountFolder ?? serviceAccountFolder;
  const origin = `the ServiceAccount in ${folder}`;
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = sources.env;
  const server = new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`);
  const namespace = await readFile(path.join(folder, 'namespace'), 'utf8').catch(() => undefined);
  return {
    origin,
    context: undefined,
    server,
    namespace: namespace?.trim(),
    impersonation: {},
    proxy: proxyOf(server, undefined, sources.env, origin),
    async read() {
      const token = await readToken(path.join(folder, 'token'));
      return { tls: { ca: await readFile(path.join(folder, 'ca.crt')) }, authorization: `Bearer ${token}` };
    },
  };
}

async function loadFiles(files: readonly string[], sources: CredentialSources): Promise<Loaded> {
  const origin = `kubeconfig ${files.join(path.delimiter)}`;
  const { env, time } = sources;
  try {
    const { context, cluster, namespace, ...choice } = await readKubeconfig(files, sources.context);
    const server = serverUrl(cluster.server);
    // Like kubectl, send no credentials over plain http: such a server is usually `kubectl proxy`.
    const user = server.protocol === 'https:' ? choice.user : undefined;
    let fromPlugin: ExecCredential | undefined;

    /** Like kubectl, a plugin runs only if the kubeconfig has no other credential. */
    async function askPlugin(ca: string | undefined): Promise<ExecCredential | undefined> {
      if (!user?.exec || user.token !== undefined || user.tokenFile !== undefined) return undefined;
      if (user.username !== '' || user.password !== '' || user.certificate) return undefined;
      if (fromPlugin?.expiresAt === undefined ? !fromPlugin : fromPlugin.expiresAt <= time.now()) {
        fromPlugin = await runExecPlugin(user.exec, { of: cluster, ca }, sources);
      }
      return fromPlugin;
    }

    async function read(): Promise<Material> {
      const ca = await contentOf(cluster.ca);
      const plugin = await askPlugin(ca?.toString('utf8'));
      const cert = (await contentOf(user?.certificate)) ?? plugin?.certificate;
      // A key without a certificate is of no use.
      const key = cert && ((await contentOf(user?.key)) ?? plugin?.key);
      return {
        tls: {
          ...(ca && { ca }),
          ...(cert && { cert }),
          ...(key && { key }),
          ...(cluster.serverName && { servername: cluster.serverName }),
          ...(cluster.isInsecure && { rejectUnauthorized: false }),
        },
        authorization: user && (await authorizationOf(user, plugin)),
      };
    }

    const proxy = proxyOf(server, cluster.proxyUrl, env, origin);
    const { serverName } = cluster;
    const impersonation = impersonationHeaders(user);
    return { origin, context, server, serverName, namespace, impersonation, proxy, read };
  } catch (error) {
    throw unusable(origin, error);
  }
}

/** Like kubectl: a host and a port without a scheme mean http. */
function serverUrl(server: string): URL {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(server);
  const text = hasScheme ? server : `http://${server}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url;
  throw new Error(`"${server}" is not a URL of http or https, nor a host and a port`);
}

function proxyOf(
  server: URL,
  proxyUrl: string | undefined,
  env: CredentialSources['env'],
  origin: string,
): URL | undefined {
  try {
    // The kubeconfig's proxy applies to each host, regardless of NO_PROXY.
    const proxy =
      proxyUrl === undefined ? proxyFromEnvironment(server, env) : parseProxy(proxyUrl, 'proxy-url');
    if (proxy?.protocol === 'https:' && server.protocol === 'http:') {
      throw new Error('an https proxy is supported for servers of https only');
    }
    return proxy;
  } catch (error) {
    throw unusable(origin, error);
  }
}

async function authorizationOf(
  user: KubeconfigUser,
  plugin: ExecCredential | undefined,
): Promise<string | undefined> {
  const { token, tokenFile, username, password, authProvider } = user;
  // A token file takes precedence over a token; the token is used while the file cannot be read.
  const fromFile = tokenFile === undefined ? undefined : await readToken(tokenFile, token);
  const bearer = fromFile ?? token ?? plugin?.token;
  if (bearer !== undefined) return `Bearer ${bearer}`;
  if (username !== '' || password !== '') {
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }
  if (!authProvider) return undefined;
  const { authorizationFrom } = await import('./client-node.ts');
  return authorizationFrom(authProvider);
}

/** @param instead what is used where the file cannot be. */
async function readToken(file: string, instead?: string): Promise<string> {
  try {
    const token = (await readFile(file, 'utf8')).trim();
    if (token === '') throw new Error(`${file} is empty`);
    return token;
  } catch (error) {
    if (instead === undefined) throw error;
    return instead;
  }
}

async function contentOf(source: PemSource | undefined): Promise<Buffer | undefined> {
  if (source === undefined) return undefined;
  return 'data' in source ? source.data : readFile(source.file);
}

function unusable(origin: string, cause: unknown): KubespiffeError {
  if (cause instanceof KubespiffeError) return cause;
  // Further lines, and the cause itself, may quote the file with its keys and tokens: YAML parsers do.
  const [reason] = isMissing(cause) ? [`${cause.path} does not exist`] : messageOf(cause).split('\n');
  return new KubespiffeError('CONFIG_INVALID', `${origin} cannot be used: ${reason}`);
}

function isMissing(cause: unknown): cause is Error & { path: string } {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT' && 'path' in cause;
}
