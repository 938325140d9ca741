import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Entry, packTar } from '../../scripts/image/tar.ts';

const file = (path: string, text: string, mode = 0o644): Entry => ({
  path,
  mode,
  content: Buffer.from(text),
});

test('tar unpacks what was packed, folders and modes included', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-tar-'));
  t.after(() => rm(folder, { recursive: true }));
  // A name of 233 bytes, which ustar can hold, and one that is too long for it.
  const long = `${'folder/'.repeat(20)}${'n'.repeat(90)}.js`;
  const longer = `${'folder/'.repeat(40)}${'n'.repeat(120)}.js`;
  const archive = await packTar([
    file('bin/run', 'x'.repeat(1000), 0o755),
    file('empty', ''),
    file(long, 'deep'),
    file(longer, 'deeper'),
    { path: 'tmp', mode: 0o1777, folder: true },
  ]);
  execFileSync('tar', ['-x', '-p', '-f', '-', '-C', folder], { input: archive });
  assert.equal(await readFile(join(folder, 'bin/run'), 'utf8'), 'x'.repeat(1000));
  assert.equal((await stat(join(folder, 'bin/run'))).mode & 0o7777, 0o755);
  assert.equal(await readFile(join(folder, 'empty'), 'utf8'), '');
  assert.equal(await readFile(join(folder, long), 'utf8'), 'deep');
  assert.equal(await readFile(join(folder, longer), 'utf8'), 'deeper');
  assert.equal((await stat(join(folder, 'tmp'))).mode & 0o7777, 0o1777);
});

test('neither the order in which entries are found nor the time shows in the archive', async (t) => {
  const entries = [file('b/c', '1'), file('a', '2'), file('b/a', '3'), file('n'.repeat(300), '4')];
  const archive = await packTar(entries);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3_600_000 });
  assert.deepEqual(await packTar(entries.toReversed()), archive);
});
