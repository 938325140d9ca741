import { spawn } from 'node:child_process';
import { isatty } from 'node:tty';
import { createByteBuffer } from '../../client/byte-buffer.ts';
import { isJsonObject, parseJsonBytes } from '../../spiffe/json.ts';
import type { ExecConfig, KubeconfigCluster } from './kubeconfig.ts';
import type { Time } from './time.ts';

/** The result of a plugin: a token, a client certificate with its key (PEM), or both. */
export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Epoch milliseconds; undefined when it does not expire. */
  readonly expiresAt: number | undefined;
}

/** Longest run of a plugin, in milliseconds. Not applied at a terminal, where a person may have to log in. */
const maxRunMs = 60_000;
/** Longest output, in bytes. */
const maxOutput = 1024 * 1024;

/** How a plugin is run. */
export interface ExecSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the plugin when it is aborted. */
  readonly signal?: AbortSignal | undefined;
  readonly time: Time;
  readonly isTerminal?: boolean;
}

/**
 * Runs a credential plugin (client.authentication.k8s.io v1 and v1beta1). Its standard error goes to ours.
 * Unlike kubectl, we bound the length of the output and, without a terminal, the time.
 *
 * @param cluster passed to the plugin if it asks for it (provideClusterInfo).
 * @throws Error without any of the plugin's output.
 */
export async function runExecPlugin(
  exec: ExecConfig,
  cluster: { readonly of: KubeconfigCluster; readonly ca: string | undefined },
  surroundings: ExecSurroundings,
): Promise<ExecCredential> {
  const { isTerminal = isatty(0) } = surroundings;
  if (exec.interactiveMode === 'Always' && !isTerminal) {
    throw new Error(`plugin ${exec.command} needs a terminal, and standard input is not one`);
  }
  const isInteractive = exec.interactiveMode !== 'Never' && isTerminal;
  const info = {
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion,
    spec: { interactive: isInteractive, ...(exec.providesClusterInfo && { cluster: clusterInfo(cluster) }) },
  };
  const env = { ...surroundings.env, ...exec.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
  return readCredential(exec, await outputOf(exec, { ...surroundings, env, isTerminal, isInteractive }));
}

function clusterInfo({ of, ca }: { of: KubeconfigCluster; ca: string | undefined }): object {
  return {
    server: of.server,
    ...(of.serverName !== undefined && { 'tls-server-name': of.serverName }),
    ...(of.isInsecure && { 'insecure-skip-tls-verify': true }),
    ...(ca !== undefined && { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    ...(of.proxyUrl !== undefined && { 'proxy-url': of.proxyUrl }),
    config: of.execConfig ?? null,
  };
}

function outputOf(
  exec: ExecConfig,
  {
    env,
    signal,
    time: { timer },
    isTerminal,
    isInteractive,
  }: ExecSurroundings & { isTerminal: boolean; isInteractive: boolean },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(exec.command, exec.args, {
      env,
      stdio: [isInteractive ? 'inherit' : 'ignore', 'pipe', 'inherit'],
    });
    const output = createByteBuffer();
    /** Does not wait for the end of the output: a process started by the plugin may keep it open. */
    const giveUp = (why: string) => {
      child.kill('SIGKILL');
      child.stdout.destroy();
      fail(why);
    };
    const abort = () => giveUp('was ended with the process that had started it');
    const cancelTimer = isTerminal
      ? () => undefined
      : timer(() => giveUp(`did not end within ${maxRunMs / 1000} s`), maxRunMs);
    signal?.addEventListener('abort', abort);

    function settle(): void {
      cancelTimer();
      signal?.removeEventListener('abort', abort);
    }
    function fail(why: string): void {
      settle();
      reject(new Error(`plugin ${exec.command} ${why}`));
    }

    child.stdout.on('data', (chunk: Buffer) => {
      if (output.length + chunk.length > maxOutput) giveUp(`printed more than ${maxOutput} bytes`);
      else output.append(chunk);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      const hint = exec.installHint === undefined ? '' : `; ${exec.installHint}`;
      fail(error.code === 'ENOENT' ? `is not installed${hint}` : `cannot be run (${error.code})${hint}`);
    });
    child.on('close', (code, endedBy) => {
      if (code !== 0) return fail(`failed with ${endedBy ?? `exit code ${code}`}`);
      settle();
      resolve(output.bytes());
    });
    if (signal?.aborted) abort();
  });
}

function readCredential(exec: ExecConfig, output: Buffer): ExecCredential {
  const wrong = (what: string) => new Error(`plugin ${exec.command} ${what}`);
  const read = parseJsonBytes(output, 'its output');
  if (!read.ok) throw wrong(`cannot be used: ${read.reason}`);
  const { kind, apiVersion, status } = read.value;
  if (kind !== 'ExecCredential' || apiVersion !== exec.apiVersion) {
    throw wrong(`did not print an ExecCredential of ${exec.apiVersion}`);
  }
  const text = (name: string) => {
    const value = isJsonObject(status) ? status[name] : undefined;
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const token = text('token');
  const [certificate, key] = [text('clientCertificateData'), text('clientKeyData')];
  if ((certificate === undefined) !== (key === undefined)) throw wrong('gave a certificate or a key alone');
  if (token === undefined && certificate === undefined) throw wrong('gave neither a token nor a certificate');
  const expiry = text('expirationTimestamp');
  const expiresAt = expiry === undefined ? undefined : Date.parse(expiry);
  if (Number.isNaN(expiresAt)) throw wrong('gave an expirationTimestamp that is not a time');
  return { token, certificate, key, expiresAt };
}
