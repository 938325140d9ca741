import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport, type Transport } from '../../signer/kube/transport.ts';

const run = promisify(execFile);

export interface Trial {
  /** By path below the folder of the trial. An object is written as JSON, text that begins with #! is executable. */
  readonly files: Readonly<Record<string, object | string>>;
  /** In place of `config` alone. */
  readonly kubeconfig?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Who the API server takes a client for. */
export type Outcome = { readonly user: unknown } | { readonly refused: string };

export async function writeTrial(folder: string, trial: Trial): Promise<Record<string, string>> {
  for (const [name, content] of Object.entries(trial.files)) {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    await writeFile(file, text, { mode: text.startsWith('#!') ? 0o700 : 0o600 });
  }
  const listed = (trial.kubeconfig ?? ['config']).map((name) => path.join(folder, name));
  return { PATH: process.env.PATH ?? '', HOME: folder, KUBECONFIG: listed.join(':'), ...trial.env };
}

/** What kubectl finds out with these variables, from another folder than that of the files. */
export async function askAsKubectl(
  command: readonly string[],
  env: Record<string, string>,
): Promise<Outcome> {
  const [program = '', ...args] = command;
  try {
    const asked = run(program, [...args, 'auth', 'whoami', '-o', 'json'], { env, cwd: '/', timeout: 30_000 });
    asked.child.stdin?.end();
    return { user: JSON.parse((await asked).stdout).status.userInfo };
  } catch (error) {
    return { refused: String((error as { stderr?: string }).stderr ?? error) };
  }
}

/** The same with our own client. */
export async function askAsOurselves(env: Record<string, string>): Promise<Outcome> {
  let close = async () => {};
  try {
    const credentials = await loadCredentials({ time: realTime, env });
    const transport = createTransport({ time: realTime, credentials });
    close = transport.close;
    return { user: await userOf(transport) };
  } catch (error) {
    return { refused: String(error) };
  } finally {
    await close();
  }
}

async function userOf(transport: Transport): Promise<{ username: string }> {
  const { body } = await transport.request<{ status: { userInfo: { username: string } } }>({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    timeoutMs: 5_000,
  });
  return body.status.userInfo;
}

export async function whoAmI(transport: Transport): Promise<string> {
  return (await userOf(transport)).username;
}
