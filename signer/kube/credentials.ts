import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { parse as parseYaml } from 'yaml';
import { KubespiffeError, messageOf } from '../errors.ts';
import { loadKubeConfigClass } from './kubeconfig.ts';

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
/** For so long a token or a file is not read again. Kubelet rotates tokens long before they end. */
const freshForMs = 10_000;

export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>;

/** Where the API server is, and as whom we speak to it. */
export interface Credentials {
  readonly server: URL;
  /** For the next connection. As fresh as the last authorization(). */
  readonly tls: TlsOptions;
  /**
   * The Authorization header, read again when it is older than 10 s. A file that cannot be read for a moment leaves
   * the last value standing.
   * @throws KubespiffeError CONFIG_INVALID when there never was a value.
   */
  authorization(): Promise<string | undefined>;
  /** The server refused the last value: everything is read anew next time, exec plugins run again. */
  invalidate(): void;
  /** The namespace of the context or of the pod. */
  readonly namespace: string | undefined;
}

export interface CredentialSources {
  /** A kubeconfig file; wins over everything else. */
  kubeconfig?: string;
  /** A context of the kubeconfig, in place of its current one. */
  context?: string;
  /** KUBECONFIG, KUBERNETES_SERVICE_HOST and _PORT, HOME, in the order of kubectl but for a pod's own account. */
  env: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its token, ca.crt and namespace. */
  serviceAccountFolder?: string;
  monotonic?: () => number;
}

/**
 * Finds the credentials: the kubeconfig asked for, else the files of KUBECONFIG, else the pod's ServiceAccount, else
 * ~/.kube/config.
 * @throws KubespiffeError CONFIG_INVALID
 */
export async function loadCredentials(sources: CredentialSources): Promise<Credentials> {
  const monotonic = sources.monotonic ?? (() => performance.now());
  let loaded = await load(sources);
  let state: Material = await loaded.read().catch((error: unknown) => {
    throw unusable(loaded.origin, error);
  });
  let readAt = monotonic();
  let isRefused = false;
  let reading: Promise<void> | undefined;

  async function refresh(): Promise<void> {
    try {
      if (isRefused) loaded = await load(sources);
      state = await loaded.read();
    } catch {
      // A file in the middle of being replaced, or an exec plugin that fails now: the last value may still serve,
      // and if it does not, the server's 401 says so.
    }
    isRefused = false;
    readAt = monotonic();
  }

  return {
    server: loaded.server,
    namespace: loaded.namespace,
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
  readonly server: URL;
  readonly namespace: string | undefined;
  read(): Promise<Material>;
}

async function load(sources: CredentialSources): Promise<Loaded> {
  const { env } = sources;
  if (sources.kubeconfig) return loadFiles([sources.kubeconfig], sources);
  const listed = (env.KUBECONFIG ?? '').split(path.delimiter).filter((file) => file !== '');
  // As kubectl does: of several, those that are not there are passed over. With none there, the error names them all.
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
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = sources.env;
  const config = new (await loadKubeConfigClass())();
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const namespace = await readFile(path.join(folder, 'namespace'), 'utf8').catch(() => undefined);
  config.loadFromOptions({
    clusters: [{ name: 'in-cluster', server, caFile: path.join(folder, 'ca.crt'), skipTLSVerify: false }],
    users: [{ name: 'pod' }],
    contexts: [{ name: 'in-cluster', cluster: 'in-cluster', user: 'pod', namespace: namespace?.trim() }],
    currentContext: 'in-cluster',
  });
  return fromConfig(config, `the ServiceAccount in ${folder}`, path.join(folder, 'token'));
}

async function loadFiles(files: readonly string[], sources: CredentialSources): Promise<Loaded> {
  const origin = `kubeconfig ${files.join(path.delimiter)}`;
  try {
    const KubeConfigClass = await loadKubeConfigClass();
    const config = new KubeConfigClass();
    const tokenFiles = new Map<string, string>();
    for (const [position, file] of files.entries()) {
      for (const [user, tokenFile] of await readTokenFiles(file)) {
        if (!tokenFiles.has(user)) tokenFiles.set(user, tokenFile);
      }
      if (position === 0) {
        config.loadFromFile(file);
        continue;
      }
      const further = new KubeConfigClass();
      further.loadFromFile(file);
      config.mergeConfig(further, Boolean(config.currentContext));
    }
    if (sources.context) config.setCurrentContext(sources.context);
    const user = config.getContextObject(config.currentContext)?.user;
    return fromConfig(config, origin, user === undefined ? undefined : tokenFiles.get(user));
  } catch (error) {
    throw unusable(origin, error);
  }
}

/** client-node reads a user's `tokenFile` once and forgets the path, which ends with the first rotation. */
async function readTokenFiles(kubeconfig: string): Promise<[user: string, tokenFile: string][]> {
  const content: unknown = parseYaml(await readFile(kubeconfig, 'utf8'));
  if (typeof content !== 'object' || content === null) throw new Error(`${kubeconfig} holds no kubeconfig`);
  // Null once kubectl has deleted the last one.
  const { users } = content as { users?: { name: string; user?: { tokenFile?: string } }[] | null };
  return (users ?? []).flatMap(({ name, user }) =>
    user?.tokenFile ? [[name, path.resolve(path.dirname(kubeconfig), user.tokenFile)]] : [],
  );
}

function fromConfig(config: KubeConfig, origin: string, tokenFile: string | undefined): Loaded {
  const context = config.getContextObject(config.currentContext);
  const cluster = config.getCurrentCluster();
  if (!config.currentContext) throw unusable(origin, 'it has no current context');
  if (!context) throw unusable(origin, `context "${config.currentContext}" is not in it`);
  if (!cluster) throw unusable(origin, `cluster "${context.cluster}" is not in it`);
  if (context.user && !config.getCurrentUser()) throw unusable(origin, `user "${context.user}" is not in it`);
  if (!URL.canParse(cluster.server)) throw unusable(origin, `"${cluster.server}" is not a URL`);
  if (cluster.proxyUrl) throw unusable(origin, 'proxy-url is not supported');
  if (config.getCurrentUser()?.impersonateUser) throw unusable(origin, 'impersonation is not supported');

  async function read(): Promise<Material> {
    const token = tokenFile === undefined ? undefined : (await readFile(tokenFile, 'utf8')).trim();
    if (token === '') throw new Error(`${tokenFile} is empty`);
    const options: Parameters<KubeConfig['applyToHTTPSOptions']>[0] & { rejectUnauthorized?: boolean } = {};
    await config.applyToHTTPSOptions(options);
    const { ca, cert, key, servername, rejectUnauthorized, auth, headers } = options;
    const bearer = (headers as Record<string, string> | undefined)?.Authorization;
    const basic = auth ? `Basic ${Buffer.from(auth).toString('base64')}` : undefined;
    return {
      tls: {
        ...(ca && { ca }),
        ...(cert && { cert }),
        ...(key && { key }),
        ...(servername && { servername }),
        ...(rejectUnauthorized === false && { rejectUnauthorized }),
      },
      authorization: token === undefined ? (bearer ?? basic) : `Bearer ${token}`,
    };
  }

  return { origin, server: new URL(cluster.server), namespace: context.namespace, read };
}

function unusable(origin: string, cause: unknown): KubespiffeError {
  if (cause instanceof KubespiffeError) return cause;
  // Further lines, and the cause itself, may quote the file with its keys and tokens: YAML parsers do.
  const [reason] = isNotThere(cause) ? [`${cause.path} is not there`] : messageOf(cause).split('\n');
  return new KubespiffeError('CONFIG_INVALID', `${origin} cannot be used: ${reason}`);
}

function isNotThere(cause: unknown): cause is Error & { path: string } {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT' && 'path' in cause;
}
