import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Child, cpuSecondsOf, startChild, waitFor } from '../cluster/process.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor, newVolume, swap } from '../workload/credentials.ts';
import type { HandshakeCalls, HandshakeRates } from './handshakes.ts';
import { residentMegabytes } from './process-figures.ts';
import { startWorker, type Worker } from './worker.ts';
import type { EchoCalls } from './workload-echo.ts';
import type { Method, WorkloadLoadCalls, WorkloadLoadResult } from './workload-load.ts';
import { tokenRequest } from './workload-request.ts';

export interface WorkloadSizes {
  readonly rounds: number;
  readonly seconds: number;
  readonly streams: number;
  /** Starts of `kubespiffe dev`. */
  readonly starts: number;
  readonly handshakes: { readonly rounds: number; readonly handshakes: number };
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
  /** Milliseconds from the start of `kubespiffe dev` until a client of its Workload API has an X509-SVID. */
  readonly devStarts: readonly number[];
  /** FetchJWTSVID: of one audience, which the sidecar has in its cache, and of a new one each time. */
  readonly tokens: { readonly cached: WorkloadRun; readonly fresh: WorkloadRun };
  readonly handshakes: HandshakeRates;
}

const id = 'spiffe://example.org/ns/shop/sa/web';
const root = join(import.meta.dirname, '../..');
const callers = 8;
const fetchX509Svid = '/SpiffeWorkloadAPI/FetchX509SVID';

/** Measures `kubespiffe workload-api` with the files of the image, which are plain JavaScript. */
export async function measureWorkloadApi(
  sizes: WorkloadSizes,
  say: (line: string) => void,
): Promise<WorkloadMeasurements> {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-bench-'));
  const load = startWorker<WorkloadLoadCalls>(join(import.meta.dirname, 'workload-load.ts'));
  const echo = startWorker<EchoCalls>(join(import.meta.dirname, 'workload-echo.ts'));
  const handshaker = startWorker<HandshakeCalls>(join(import.meta.dirname, 'handshakes.ts'));
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
    say(`workload: ${sizes.starts} starts of kubespiffe dev`);
    const devStarts: number[] = [];
    while (devStarts.length < sizes.starts) {
      const { child, tookMs } = await startDev(load, folder);
      devStarts.push(tookMs);
      await child.stop();
    }
    say('workload: tokens');
    const tokens = await measureTokens(load, join(image, 'app/tools/main.js'), folder, sizes.seconds);
    say('workload: handshakes');
    const handshakes = await handshaker.call('measure', sizes.handshakes);
    return { ...memory, rounds, streams: sizes.streams, devStarts, tokens, handshakes };
  } finally {
    handshaker.stop();
    load.stop();
    echo.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Sidecar {
  readonly child: Child;
  readonly method: Method;
}

async function startSidecar(
  program: string,
  volume: string,
  folder: string,
  flags: readonly string[] = [],
): Promise<Sidecar> {
  const socket = join(mkdtempSync(join(folder, 'sidecar-')), 'api.sock');
  const uri = `unix://${socket}`;
  const command = [
    process.execPath,
    program,
    'workload-api',
    '--credentials',
    volume,
    '--socket',
    uri,
    ...flags,
  ];
  const child = startChild('workload-api', command, { logFile: join(folder, 'log') });
  await waitFor('the socket', () => accepts(socket), { needs: [child] });
  return { child, method: { uri, path: fetchX509Svid, request: new Uint8Array() } };
}

/** Whether a server listens: the file of a socket exists a moment before it takes connections. */
async function accepts(socket: string): Promise<true> {
  const connection = connect(socket);
  await once(connection, 'connect');
  connection.destroy();
  return true;
}

/** Starts `kubespiffe dev` from the source, as the README does, until its Workload API has given an X509-SVID. */
async function startDev(load: Worker<WorkloadLoadCalls>, parent: string) {
  const place = mkdtempSync(join(parent, 'dev-'));
  const folder = join(place, 'dev');
  const workload = join(folder, 'shop/web');
  const command = [join(root, 'bin/kubespiffe'), 'dev', '--workload', 'shop/web', '--folder', folder];
  const startedAt = performance.now();
  const child = startChild('dev', [...command, '--port', '0'], { logFile: join(place, 'log') });
  const socket = join(workload, 'workload-api.sock');
  await waitFor('the socket of dev', () => accepts(socket), { needs: [child], everyMs: 5 });
  await load.call('firstMessage', {
    uri: `unix://${socket}`,
    path: fetchX509Svid,
    request: new Uint8Array(),
  });
  return { child, workload, tookMs: performance.now() - startedAt };
}

/** JWT-SVIDs from the Workload API of a sidecar, with the token endpoint of `kubespiffe dev`. */
async function measureTokens(
  load: Worker<WorkloadLoadCalls>,
  program: string,
  parent: string,
  seconds: number,
): Promise<WorkloadMeasurements['tokens']> {
  const { child, workload } = await startDev(load, parent);
  try {
    const endpoint = /^token endpoint +(\S+)$/m;
    const url = await waitFor('the token endpoint', () => endpoint.exec(child.lastLines(100))?.[1], {
      needs: [child],
    });
    const sidecar = await startSidecar(program, workload, parent, ['--token-endpoint', url]);
    return await withSidecar(sidecar, async ({ child: server, method: { uri } }) => {
      const method = {
        uri,
        path: '/SpiffeWorkloadAPI/FetchJWTSVID',
        request: tokenRequest('https://api.example.org'),
      };
      const fresh = { ...method, isEachAudienceNew: true } as const;
      return {
        cached: await run(load, method, seconds, server.pid),
        fresh: await run(load, fresh, seconds, server.pid),
      };
    });
  } finally {
    await child.stop();
  }
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
