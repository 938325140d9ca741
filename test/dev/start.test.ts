import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { askDev } from '../../dev/control.ts';
import { startDev } from '../../dev/start.ts';

let folder: string;
let ended: Promise<void>;
const ending = new AbortController();
before(async () => {
  folder = join(mkdtempSync(join(tmpdir(), 'dev-')), 'dev');
  const options = {
    folder,
    uid: process.getuid?.() ?? 0,
    trustDomain: 'dev.localhost',
    lifetimeSeconds: 300,
  };
  const dev = await startDev({ ...options, workloads: [], port: 0, log: () => undefined }, ending.signal);
  ended = dev.run();
});
after(async () => {
  ending.abort();
  await ended;
  rmSync(join(folder, '..'), { recursive: true, force: true });
});

const workload = (namespace: string, name: string) =>
  askDev(folder, { ask: 'workload', workloads: [{ namespace, name }] });

describe('a new workload of a running kubespiffe dev', () => {
  it('a new workload whose socket would have too long a path is refused each time, and leaves no files', async () => {
    const long = 'x'.repeat(63);
    for (const _ of [1, 2]) {
      await assert.rejects(workload(long, long), {
        message: /^unix:.*: the path has \d+ bytes; a socket has at most 107/,
        hint: 'choose a shorter path with --folder',
      });
    }
    assert.throws(() => lstatSync(join(folder, long)), { code: 'ENOENT' });
  });

  it('a new workload that two programs want at once is served before either of them starts', async () => {
    const isServed = async () => {
      const answer = await workload('shop', 'web');
      return lstatSync(join(answer.workload?.folder ?? '', 'workload-api.sock')).isSocket();
    };
    assert.deepEqual(await Promise.all([isServed(), isServed()]), [true, true]);
  });
});
