import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

test('no tracked file holds a private key', () => {
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
    .split('\0')
    .filter(Boolean);
  assert.ok(files.length > 10);
  // A whole block: code and documents may well name the label.
  const key = /-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40,}-----END/;
  const holders = files.filter((file) => {
    try {
      return key.test(readFileSync(join(root, file), 'latin1'));
    } catch {
      return false; // removed in the working tree, not yet in the index
    }
  });
  assert.deepEqual(holders, []);
});

for (const folder of ['', 'key-backends/', 'scripts/site/']) {
  test(`every package of ${folder}package-lock.json is pinned by the hash of its content, for every platform`, () => {
    const { packages } = JSON.parse(readFileSync(join(root, folder, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { integrity?: string }>;
    };
    const installed = Object.entries(packages).filter(([place]) => place !== '');
    assert.ok(installed.length > 0);
    const loose = installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'));
    assert.deepEqual(
      loose.map(([place]) => place),
      [],
    );
  });
}
