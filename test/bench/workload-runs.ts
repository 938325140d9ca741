import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Child, cpuSecondsOf, startChild, waitFor } from '../cluster/process.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor, newVolume, swap } from '../workload/credentials.ts';
import { residentMegabytes } from './process-figures.ts';
import { startWorker, type Worker } from './worker.ts';
import type { EchoCalls } from './workload-echo.ts';
import type { Method, WorkloadLoadCalls, WorkloadLoadResult } from './workload-load.ts';

export interface WorkloadSizes {
  readonly rounds: number;
  readonly seconds: number;
  readonly streams: number;
}

/** A run of the load, with the CPU seconds of the server. */
export interface WorkloadRun extends WorkloadLoadResult {
  readonly serverCpu: number;
}

export interface WorkloadRound {
  readonly fetch: WorkloadRun;
  /** The same bytes from a bare server of the same library. */
  readonly bare: WorkloadRun;
  /** Milliseconds from the change of the volume until each open stream has the new certificate. */
  readonly pushMs: number;
}

export interface WorkloadMeasurements {
  readonly rounds: readonly WorkloadRound[];
  readonly streams: number;
  /** Resident memory in megabytes, of a process that has done nothing else. */
  readonly idle: number;
  readonly withStreams: number;
}

const id = 'spiffe://example.org/ns/shop/sa/web';
const root = join(import.meta.dirname, '../..');
const callers = 8;

/** Measures `kubespiffe workload-api` with the files of the image, which are plain JavaScript. */
export async function measureWorkloadApi(
  sizes: WorkloadSizes,
  say: (line: string) => void,
): Promise<WorkloadMeasurements> {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-bench-'));
  const load = startWorker<WorkloadLoadCalls>(join(import.meta.dirname, 'workload-load.ts'));
  const echo = startWorker<EchoCalls>(join(import.meta.dirname, 'workload-echo.ts'));
  try {
    say('workload: laying out the files of the image');
    const image = join(folder, 'image');
    execFileSync(process.execPath, [join(root, 'scripts/image.ts'), '--rootfs', image], { stdio: 'ignore' });
    const ca = await makeCa();
    const volume = newVolume(folder, await filesOf(ca));
    const start = () => startSidecar(join(image, 'app/tools/main.js'), volume, folder);

    say(`workload: memory with ${sizes.streams} streams`);
    const memory = await withSidecar(await start(), async ({ child, method }) => {
      // At rest: the start has left garbage.
      await pause(2_000);
      const idle = residentMegabytes(child.pid).now;
      await load.call('openStreams', { method, count: sizes.streams });
      const withStreams = residentMegabytes(child.pid).now;
      load.tell('closeStreams', undefined);
      return { idle, withStreams };
    });
    const rounds = await withSidecar(await start(), async (sidecar) => {
      const { bytes } = await load.call('firstMessage', sidecar.method);
      const bare = { ...sidecar.method, uri: `unix://${join(folder, 'bare.sock')}`, path: '/Bare/Fetch' };
      await echo.call('listen', { socket: join(folder, 'bare.sock'), path: bare.path, bytes });
      const measured: WorkloadRound[] = [];
      while (measured.length < sizes.rounds) {
        say(`workload: round ${measured.length + 1} of ${sizes.rounds}`);
        measured.push({
          bare: await run(load, bare, sizes.seconds, echo.pid),
          fetch: await run(load, sidecar.method, sizes.seconds, sidecar.child.pid),
          pushMs: await pushed(load, sidecar.method, sizes.streams, async () =>
            swap(volume, await filesOf(ca)),
          ),
        });
      }
      return measured;
    });
    return { ...memory, rounds, streams: sizes.streams };
  } finally {
    load.stop();
    echo.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Sidecar {
  readonly child: Child;
  readonly method: Method;
}

async function startSidecar(program: string, volume: string, folder: string): Promise<Sidecar> {
  const socket = join(mkdtempSync(join(folder, 'sidecar-')), 'api.sock');
  const uri = `unix://${socket}`;
  const command = [process.execPath, program, 'workload-api', '--credentials', volume, '--socket', uri];
  const child = startChild('workload-api', command, { logFile: join(folder, 'log') });
  await waitFor('the socket', () => existsSync(socket), { needs: [child] });
  return { child, method: { uri, path: '/SpiffeWorkloadAPI/FetchX509SVID', request: new Uint8Array() } };
}

async function withSidecar<T>(sidecar: Sidecar, act: (sidecar: Sidecar) => Promise<T>): Promise<T> {
  try {
    return await act(sidecar);
  } finally {
    await sidecar.child.stop();
  }
}

async function filesOf(ca: TestCa): Promise<Record<string, string>> {
  return { 'credentials.pem': (await credentialsFor(id, ca)).pem, 'roots.pem': ca.pem };
}

async function run(
  load: Worker<WorkloadLoadCalls>,
  method: Method,
  seconds: number,
  pid: number,
): Promise<WorkloadRun> {
  const before = cpuSecondsOf(pid);
  const result = await load.call('run', { method, seconds, parallel: callers });
  return { ...result, serverCpu: cpuSecondsOf(pid) - before };
}

async function pushed(
  load: Worker<WorkloadLoadCalls>,
  method: Method,
  count: number,
  rotate: () => Promise<void>,
): Promise<number> {
  await load.call('openStreams', { method, count });
  const all = load.call('nextMessages', undefined);
  const startedAt = performance.now();
  await rotate();
  await all;
  const tookMs = performance.now() - startedAt;
  await load.call('closeStreams', undefined);
  return tookMs;
}
