import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ComponentSettings, etcdFlags } from './components.ts';
import { type Child, startChild } from './process.ts';

/** A running etcd whose data a test may put back. */
export interface Etcd {
  /** The process that runs now. */
  child(): Child;
  /** Keeps a copy of all data as it is now. etcd is down for that moment, and the API server waits for it. */
  save(): Promise<void>;
  /** Replaces all data by the saved copy, as after a restore from a backup. Kill the API server first. */
  putBack(): Promise<void>;
  /** Starts it again with further flags, which hold until the next restart. */
  restart(flags?: readonly string[]): Promise<void>;
  /** Calls its JSON gateway, such as /v3/maintenance/status. */
  call<T>(path: string, body?: object): Promise<T>;
  stop(): Promise<void>;
}

export function startEtcd(command: readonly string[], settings: ComponentSettings, logFile: string): Etcd {
  const data = join(settings.dir, 'etcd');
  const saved = join(settings.dir, 'etcd-saved');
  const start = (flags: readonly string[] = []) =>
    startChild('etcd', [...command, ...etcdFlags(settings), ...flags], { logFile });
  let child = start();

  /** etcd flushes its data when it is asked to end, so that a copy is complete. */
  async function whileStopped(action: () => Promise<void>): Promise<void> {
    await child.stop('SIGTERM');
    await action();
    child = start();
  }

  return {
    child: () => child,
    save: () =>
      whileStopped(async () => {
        await rm(saved, { recursive: true, force: true });
        await cp(data, saved, { recursive: true });
      }),
    putBack: () =>
      whileStopped(async () => {
        await rm(data, { recursive: true });
        await cp(saved, data, { recursive: true });
      }),
    async restart(flags) {
      await child.stop('SIGTERM');
      child = start(flags);
    },
    async call<T>(path: string, body: object = {}) {
      const url = `http://127.0.0.1:${settings.etcdPort}${path}`;
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`POST ${url}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as T;
    },
    stop: () => child.stop('SIGKILL'),
  };
}
