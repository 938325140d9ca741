import { spawn } from 'node:child_process';
import { isatty } from 'node:tty';
import type { ExecConfig, KubeconfigCluster } from './kubeconfig.ts';

/** What a plugin gave: a token, a client certificate with its key (PEM), or both. */
export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Epoch milliseconds; undefined when it does not expire. */
  readonly expiresAt: number | undefined;
}

/**
 * Runs a credential plugin (client.authentication.k8s.io v1 and v1beta1). What it writes to standard error goes to ours.
 *
 * @param cluster what the plugin is told where it asks for it (provideClusterInfo).
 * @throws Error without any of the plugin's output.
 */
export async function runExecPlugin(
  exec: ExecConfig,
  cluster: { readonly of: KubeconfigCluster; readonly ca: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): Promise<ExecCredential> {
  const isTerminal = isatty(0);
  if (exec.interactiveMode === 'Always' && !isTerminal) {
    throw new Error(`plugin ${exec.command} needs a terminal, and standard input is none`);
  }
  const interactive = exec.interactiveMode !== 'Never' && isTerminal;
  const info = {
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion,
    spec: { interactive, ...(exec.providesClusterInfo && { cluster: clusterInfo(cluster) }) },
  };
  const output = await outputOf(exec, { ...env, ...exec.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) }, [
    interactive ? 'inherit' : 'ignore',
    'pipe',
    'inherit',
  ]);
  return readCredential(exec, output);
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
  env: NodeJS.ProcessEnv,
  stdio: ['inherit' | 'ignore', 'pipe', 'inherit'],
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(exec.command, exec.args, { env, stdio });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', (error: NodeJS.ErrnoException) => {
      const hint = exec.installHint === undefined ? '' : `; ${exec.installHint}`;
      const reason = error.code === 'ENOENT' ? 'is not installed' : `cannot be run (${error.code})`;
      reject(new Error(`plugin ${exec.command} ${reason}${hint}`));
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'));
      else reject(new Error(`plugin ${exec.command} failed with ${signal ?? `exit code ${code}`}`));
    });
  });
}

function readCredential(exec: ExecConfig, output: string): ExecCredential {
  const wrong = (what: string) => new Error(`plugin ${exec.command} ${what}`);
  let answer: { kind?: unknown; apiVersion?: unknown; status?: Record<string, unknown> | null } | null;
  try {
    answer = JSON.parse(output);
  } catch {
    throw wrong('did not print JSON');
  }
  if (answer?.kind !== 'ExecCredential' || answer.apiVersion !== exec.apiVersion) {
    throw wrong(`did not print an ExecCredential of ${exec.apiVersion}`);
  }
  const text = (name: string) => {
    const value = answer.status?.[name];
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
