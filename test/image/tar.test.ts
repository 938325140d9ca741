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
  const long = `${'folder/'.repeat(20)}${'n'.repeat(90)}.js`;
  const archive = packTar([
    file('bin/run', 'x'.repeat(1000), 0o755),
    file('empty', ''),
    file(long, 'deep'),
    { path: 'tmp', mode: 0o1777, folder: true },
  ]);
  execFileSync('tar', ['-x', '-p', '-f', '-', '-C', folder], { input: archive });
  assert.equal(await readFile(join(folder, 'bin/run'), 'utf8'), 'x'.repeat(1000));
  assert.equal((await stat(join(folder, 'bin/run'))).mode & 0o7777, 0o755);
  assert.equal(await readFile(join(folder, 'empty'), 'utf8'), '');
  assert.equal(await readFile(join(folder, long), 'utf8'), 'deep');
  assert.equal((await stat(join(folder, 'tmp'))).mode & 0o7777, 0o1777);
});

test('the order in which entries are found does not show in the archive', () => {
  const entries = [file('b/c', '1'), file('a', '2'), file('b/a', '3')];
  assert.deepEqual(packTar(entries), packTar(entries.toReversed()));
});

test('a path that does not fit the format is refused', () => {
  assert.throws(() => packTar([file('n'.repeat(101), '')]), /path too long/);
});
