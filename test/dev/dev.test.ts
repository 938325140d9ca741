import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openX509Source } from '../../workload/x509-source.ts';
import { run } from '../tools/run.ts';
import { withDev } from './dev.ts';

let parent: string;
before(() => {
  parent = mkdtempSync(join(tmpdir(), 'dev-'));
});
after(() => rmSync(parent, { recursive: true, force: true }));

/** The permission bits of every file and folder below a folder, links left out. */
function modesBelow(folder: string): number[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => lstatSync(join(folder, name)))
    .filter((found) => !found.isSymbolicLink())
    .map(({ mode }) => mode & 0o777);
}

describe('kubespiffe dev', () => {
  it('gives each workload a folder as a pod has it, and renews the certificate before it ends', async () => {
    await withDev(['--lifetime', '4s', '--workload', 'shop/web'], async ({ folder }) => {
      await using source = await openX509Source(join(folder, 'shop/web'));
      assert.equal(source.svid.id.uri, 'spiffe://dev.localhost/ns/shop/sa/web');
      const first = source.svid;
      source.events.on('problem', (problem) => assert.fail(problem.message));
      await once(source.events, 'update', { signal: AbortSignal.timeout(10_000) });
      assert.ok(source.svid.notAfter > first.notAfter);
      assert.notEqual(source.svid.chainPem, first.chainPem);
      assert.ok(Date.now() / 1000 < first.notAfter, 'the first one was still valid');
    });
  });

  it('keeps its files from other users, and removes them at its end', async () => {
    const own = mkdtempSync(join(parent, 'own-'));
    let whileRunning: number[] = [];
    const folder = join(own, 'dev');
    await withDev(
      [],
      async ({ child }) => {
        whileRunning = [lstatSync(folder).mode & 0o777, ...modesBelow(folder)];
        await child.stop();
        assert.deepEqual(readdirSync(folder), ['NOT-FOR-PRODUCTION.txt']);
      },
      own,
    );
    assert.ok(whileRunning.length > 6);
    const [top, ...below] = whileRunning;
    assert.equal(top, 0o700);
    assert.deepEqual(
      below.filter((mode) => mode === 0o644).length,
      1,
      'only the mark can be read by others, if they could enter',
    );
  });

  const folderWith = (prepare: (folder: string) => void) => {
    const folder = mkdtempSync(join(parent, 'folder-'));
    prepare(folder);
    return folder;
  };
  const rows: [name: string, args: () => string[], message: RegExp, code: number][] = [
    [
      'the trust domain of a cluster',
      () => ['--trust-domain', 'example.org'],
      /--trust-domain example\.org could be that of a cluster/,
      2,
    ],
    ['a name that only ends alike', () => ['--trust-domain', 'mydev.localhost'], /could be that of a/, 2],
    ['a trust domain that is none', () => ['--trust-domain', 'Dev.localhost'], /in lower case/, 2],
    [
      'a workload without a namespace',
      () => ['--workload', 'web'],
      /--workload web is not NAMESPACE\/NAME/,
      2,
    ],
    ['a workload outside of the folder', () => ['--workload', '../web'], /not the name of a namespace/, 2],
    ['a lifetime without a unit', () => ['--lifetime', '60'], /is not a duration/, 2],
    ['a lifetime that is too short', () => ['--lifetime', '1s'], /not between 4s and 24h/, 2],
    [
      'a folder that others can enter',
      () => ['--folder', folderWith((folder) => chmodSync(folder, 0o755))],
      /other users can enter .*\nhint: run `chmod 700/,
      1,
    ],
    [
      'a folder that holds something else',
      () => ['--folder', folderWith((folder) => writeFileSync(join(folder, 'thesis.txt'), ''))],
      /has other files in it/,
      1,
    ],
    ['a link in place of the folder', () => ['--folder', '/proc/self/cwd'], /is not a folder of yours/, 1],
  ];
  for (const [name, args, message, code] of rows) {
    it(`refuses ${name}`, async () => {
      const given = args();
      const own = given.includes('--folder') ? [] : ['--folder', join(parent, 'never')];
      const ran = await run(['dev', ...own, ...given]);
      assert.match(ran.stderr, message);
      assert.equal(ran.code, code);
      assert.equal(ran.stdout, '');
    });
  }

  it('empties a folder that an earlier one has left', async () => {
    const own = mkdtempSync(join(parent, 'own-'));
    const folder = join(own, 'dev');
    await withDev(
      [],
      async ({ child }) => {
        await child.stop('SIGKILL');
        mkdirSync(join(folder, 'old'));
        await withDev(
          ['--workload', 'a/b'],
          async () => {
            assert.deepEqual(readdirSync(folder).sort(), ['NOT-FOR-PRODUCTION.txt', 'a']);
          },
          own,
        );
      },
      own,
    );
  });
});
