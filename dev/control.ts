import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { closeAtAbort } from '../client/close-at-abort.ts';
import { KubespiffeError, messageOf } from '../spiffe/errors.ts';
import type { Workload, WorkloadName } from './workload.ts';

/** What a second process asks of a running `kubespiffe dev`. */
export type ControlRequest =
  /** Makes the workload if there is none. */
  | { readonly ask: 'workload'; readonly workloads: readonly [WorkloadName] }
  /** Without workloads: of all. */
  | { readonly ask: 'rotate' | 'expire'; readonly workloads: readonly WorkloadName[] }
  | { readonly ask: 'rotate-ca' | 'taint' };

export interface ControlAnswer {
  /** What was done, for people. */
  readonly lines: readonly string[];
  readonly workload?: Pick<Workload, 'spiffeId' | 'folder' | 'socket'>;
  readonly trustDomain: string;
  readonly tokenEndpoint: string;
}

type Wire =
  | { readonly answer: ControlAnswer }
  | { readonly error: string; readonly hint?: string | undefined };

const pathIn = (folder: string) => join(folder, 'control.sock');

/** @throws KubespiffeError ALREADY_EXISTS where a `kubespiffe dev` runs with this folder. */
export async function checkNoneRuns(folder: string): Promise<void> {
  const socket = await reach(folder);
  if (!socket) return;
  socket.destroy();
  const hint = 'use it, end it, or choose another folder with --folder';
  throw new KubespiffeError('ALREADY_EXISTS', `another \`kubespiffe dev\` runs with the folder ${folder}`, {
    hint,
  });
}

/** Answers other processes of the same user, who alone can enter the folder, until the signal is aborted. */
export async function serveControl(
  folder: string,
  answerTo: (request: ControlRequest) => Promise<ControlAnswer>,
  signal: AbortSignal,
): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, async (socket) => {
    socket.on('error', () => socket.destroy());
    try {
      const answer = await answerTo(JSON.parse(await text(socket)));
      socket.end(JSON.stringify({ answer } satisfies Wire));
    } catch (error) {
      const hint = error instanceof KubespiffeError ? error.hint : undefined;
      socket.end(JSON.stringify({ error: messageOf(error), hint } satisfies Wire));
    }
  });
  server.listen(pathIn(folder));
  await once(server, 'listening');
  closeAtAbort(server, signal);
  await chmod(pathIn(folder), 0o600);
}

/**
 * Asks the `kubespiffe dev` that has this folder.
 * @throws KubespiffeError API_UNREACHABLE where none runs, USAGE with what it says otherwise.
 */
export async function askDev(folder: string, request: ControlRequest): Promise<ControlAnswer> {
  const socket = await reach(folder);
  if (!socket) {
    const hint = 'start it with `kubespiffe dev`, and give the same --folder to both';
    throw new KubespiffeError('API_UNREACHABLE', `no \`kubespiffe dev\` runs with the folder ${folder}`, {
      hint,
    });
  }
  socket.end(JSON.stringify(request));
  const read = JSON.parse(await text(socket)) as Wire;
  if ('answer' in read) return read.answer;
  const { error, hint } = read;
  throw new KubespiffeError('USAGE', error, hint === undefined ? {} : { hint });
}

async function reach(folder: string): Promise<Socket | undefined> {
  const socket = connect({ path: pathIn(folder), allowHalfOpen: true });
  return once(socket, 'connect').then(
    () => socket,
    () => undefined,
  );
}
