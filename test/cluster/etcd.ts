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
  stop(): Promise<void>;
}

export function startEtcd(command: readonly string[], settings: ComponentSettings, logFile: string): Etcd {
  const data = join(settings.dir, 'etcd');
  const saved = join(settings.dir, 'etcd-saved');
  const start = () => startChild('etcd', [...command, ...etcdFlags(settings)], { logFile });
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
    stop: () => child.stop('SIGKILL'),
  };
}
