import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { podLog } from '../cluster/pods.ts';
import { waitFor } from '../cluster/process.ts';
import type { Installation } from './installation.ts';

const programs = join(import.meta.dirname, '../../manifests/examples/greeter');
const namespace = 'soak';

/** What two pods that talk need: memory in MB, and open files. */
export interface Held {
  readonly megabytes: number;
  readonly files: number;
}

/** Two pods of soak.yaml that call each other. */
export interface Soak {
  /** What the client reports since its first answer. */
  report(): Promise<{ answered: number; failed: string[]; seconds: number }>;
  held(pod: 'server' | 'client'): Promise<Held>;
  /** How often the CA was replaced. */
  rotations(): Promise<number>;
  /** Waits for so many seconds since the first answer. */
  for(seconds: number): Promise<void>;
  /** Removes what the pods share, once they are gone. */
  clean(): Promise<void>;
}

export async function startSoak({ controlPlane, node }: Installation): Promise<Soak> {
  const shared = join(tmpdir(), `kubespiffe-soak-${randomUUID()}`);
  const manifest = await readFile(join(import.meta.dirname, 'soak.yaml'), 'utf8');
  const { kubectl } = controlPlane;
  await kubectl(['apply', '-f', '-'], { input: manifest.replaceAll('SHARED', shared) });
  const files = ['greeter.proto', 'service.ts', 'server.ts', 'client.ts'];
  await kubectl([
    ...['create', 'configmap', 'greeter', '--namespace', namespace],
    ...files.map((name) => `--from-file=${join(programs, name)}`),
  ]);
  const logOf = (name: string, container: string) =>
    podLog(controlPlane, { namespace, name }, { container, timestamps: true }).catch(() => '');

  async function report() {
    const lines = (await logOf('client', 'main')).split('\n');
    const first = lines.findIndex((line) => line.includes(' answered '));
    const since = first < 0 ? [] : lines.slice(first);
    const at = Date.parse(since[0]?.split(' ')[0] ?? '');
    return {
      answered: since.filter((line) => line.includes(' answered ')).length,
      failed: since.filter((line) => line.includes(' failed: ')),
      seconds: first < 0 ? 0 : (Date.now() - at) / 1_000,
    };
  }

  return {
    report,
    async held(pod) {
      const script =
        'const status = fs.readFileSync("/proc/1/status", "utf8"); ' +
        'console.log(JSON.stringify({ megabytes: Number(/VmRSS:\\s+(\\d+)/.exec(status)[1]) / 1e3, files: fs.readdirSync("/proc/1/fd").length }))';
      return JSON.parse(await node.exec({ namespace, name: pod }, ['node', '-e', script])) as Held;
    },
    rotations: async () =>
      (await logOf('dev', 'rotate')).split('\n').filter((line) => line.includes('sign from now on')).length,
    async for(seconds) {
      const limits = { timeoutMs: (seconds + 120) * 1_000, everyMs: 1_000 };
      await waitFor(`${seconds} s of the soak`, async () => (await report()).seconds >= seconds, limits);
    },
    clean: () => rm(shared, { recursive: true, force: true }),
  };
}
