import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { blocksBelow, checkout, type Page, readPage } from './markdown.ts';

const run = promisify(execFile);
const folder = 'docs/coming-from';
const pages: Page[] = await Promise.all(
  (await readdir(join(checkout, folder))).map((name) => readPage(join(folder, name))),
);

/** Links to tests: the path, and the title of the test in quotes. */
const testLink = /\]\((\S+\.ts) "([^"]+)"\)/g;
const reference = /\]\[([\w-]+)\]/g;

test('each test that a page for newcomers names has that title', async () => {
  let found = 0;
  for (const { path, text } of pages) {
    for (const [, target = '', title = ''] of text.matchAll(testLink)) {
      const source = await readFile(join(checkout, dirname(path), target), 'utf8');
      assert.ok(source.includes(title), `${path}: ${target} has no test "${title}"`);
      found++;
    }
  }
  assert.ok(found > 30);
});

test('each source that a page refers to is a link, and each link is used', () => {
  for (const { path, text } of pages) {
    const defined = [...text.matchAll(/^\[([\w-]+)\]: https:\/\/\S+$/gm)].map(([, name]) => name);
    const used = new Set([...text.matchAll(reference)].map(([, name]) => name));
    assert.deepEqual(defined.toSorted(), [...used].sort(), path);
  }
});

test('each statement of the comparison names a test for kubespiffe, and a source for others', async () => {
  const { text } = await readPage(`${folder}/README.md`);
  const [, , ...rows] =
    text
      .split('\n## Compared with')[1]
      ?.split('\n')
      .filter((line) => line.startsWith('|')) ?? [];
  assert.ok(rows.length > 10);
  for (const row of rows) {
    const [, what, ...cells] = row.split('|').slice(0, -1);
    const own = cells.pop() ?? '';
    assert.equal(cells.length, 2, what);
    assert.match(own, new RegExp(testLink.source), `kubespiffe, ${what}`);
    for (const cell of cells) assert.match(cell, /\]\[[\w-]+\]|^ – $/, `${what}: ${cell}`);
  }
});

test('the CA of the page about csi-driver-spiffe is an intermediate below its root', async (t) => {
  const place = await mkdtemp(join(tmpdir(), 'coming-from-'));
  t.after(() => rm(place, { recursive: true }));
  const at = { cwd: place, env: { ...process.env, PATH: `${place}:${process.env.PATH}` } };
  // As cert-manager makes it: RSA with 2048 bits, PKCS#1, and no name but the common name.
  const request = 'req -x509 -newkey rsa:2048 -nodes -subj /CN=csi-driver-spiffe-ca -days 90';
  const usage = ['-addext', 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign'];
  await run('openssl', [...request.split(' '), ...usage, '-keyout', 'pkcs8', '-out', 'tls.crt'], at);
  await run('openssl', ['rsa', '-traditional', '-in', 'pkcs8', '-out', 'tls.key'], at);
  const program = async (name: string, script: string) => {
    await writeFile(join(place, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(place, name), 0o755);
  };
  // The Secret is two files here, and nothing is written to a cluster.
  await program('kubectl', 'case "$*" in *key*) base64 tls.key;; *) base64 tls.crt;; esac');
  const command = join(checkout, 'bin/kubespiffe');
  await program(
    'kubespiffe',
    `case "$2" in import) exec ${command} "$@" --dry-run;; esac\nexec ${command} "$@"`,
  );

  const [block] = blocksBelow(await readPage(`${folder}/csi-driver-spiffe.md`), 'Migrate without downtime');
  const { stdout, stderr } = await run('sh', ['-ec', block?.code ?? ''], at);
  assert.match(stdout, /kind: Secret/);
  assert.doesNotMatch(stderr, /error/);
  assert.equal(
    await readFile(join(place, 'root.pem'), 'utf8'),
    await readFile(join(place, 'tls.crt'), 'utf8'),
  );
  await run('openssl', ['verify', '-x509_strict', '-CAfile', 'root.pem', 'issuing.pem'], at);
  const names = await run('openssl', ['x509', '-in', 'issuing.pem', '-noout', '-ext', 'subjectAltName'], at);
  assert.match(names.stdout, /URI:spiffe:\/\/my\.trust\.domain\n/);
  assert.deepEqual(
    (await readdir(place)).filter((name) => name.endsWith('.key')),
    ['tls.key'],
    'no copy of a key is left',
  );
});
