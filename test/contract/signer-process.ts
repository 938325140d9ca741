import { readFileSync } from 'node:fs';
import path from 'node:path';
import { freePorts } from '../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { makeStateFolder } from '../cluster/state-folder.ts';

const launcher = path.join(import.meta.dirname, '../../bin/kubespiffe');

/** A signer running as a process, as users start it from a checkout. */
export interface SignerProcess {
  readonly child: Child;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The log so far, one object a line, the audit stream in it. */
  lines(): Record<string, unknown>[];
  /** Everything that the process has written. */
  output(): string;
  /** The verdict and the text of /readyz?verbose. */
  readiness(): Promise<{ ok: boolean; text: string }>;
  /** Waits until it is ready. */
  ready(): Promise<void>;
  /** The text of /metrics. */
  metrics(): Promise<string>;
  /** The value of a metric: the sum over all label sets that contain these labels. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

/**
 * Starts `bin/kubespiffe signer` with these flags; it ends with this process. A new CA signs at once, unless a flag says
 * otherwise: most tests that change the CA are about something else.
 *
 * @param options.stdoutFile takes standard output, such as a named pipe; output() and lines() then have standard error alone.
 */
export async function startSigner(options: {
  kubeconfig: string;
  replica?: string;
  trustDomain?: string;
  pool?: string;
  flags?: readonly string[];
  stdoutFile?: string;
  /** What runs `kubespiffe` in place of bin/kubespiffe. */
  launcher?: readonly string[];
}): Promise<SignerProcess> {
  const [port] = await freePorts(1);
  const { replica = 'signer-a', flags = [] } = options;
  const folder = await makeStateFolder();
  const logFile = path.join(folder, `${replica}.log`);
  const child = startChild(
    replica,
    [
      ...(options.launcher ?? [launcher]),
      'signer',
      '--kubeconfig',
      options.kubeconfig,
      '--trust-domain',
      options.trustDomain ?? 'example.org',
      '--pool',
      options.pool ?? 'kubespiffe/kubespiffe-pool',
      '--metrics-address',
      `127.0.0.1:${port}`,
      '--replica',
      replica,
      ...(flags.includes('--root-propagation-delay') ? [] : ['--root-propagation-delay', '0s']),
      ...flags,
    ],
    { logFile, ...(options.stdoutFile && { stdoutFile: options.stdoutFile }) },
  );
  const url = `http://127.0.0.1:${port}`;
  const output = () => readFileSync(logFile, 'utf8');

  async function readiness() {
    const answer = await fetch(`${url}/readyz?verbose`);
    return { ok: answer.status === 200, text: await answer.text() };
  }

  const metrics = async () => (await fetch(`${url}/metrics`)).text();

  return {
    child,
    url,
    output,
    lines: () =>
      completeLines(output())
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    readiness,
    async ready() {
      await waitFor(`${replica} to be ready`, async () => (await readiness()).ok, {
        needs: [child],
      });
    },
    metrics,
    metric: async (name, labels) => sumOf(await metrics(), name, labels),
  };
}

/** The value of a metric in the text of /metrics: the sum over all label sets that contain these labels. */
export function sumOf(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** The last line may be in the middle of being written. */
function completeLines(text: string): string[] {
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
}
