import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';

const kind = join(import.meta.dirname, '../../kind');
const minors = ['1.34', '1.35', '1.36', '1.37'];

/**
 * The steps of kind/up in a copy of its folder, whose programs write down how they are called: kind needs Docker, which
 * CI has not. What they do to a real cluster is in the other tests of the manifests.
 */
let folder: string;
let calls: string;
before(async () => {
  folder = await makeStateFolder();
  calls = join(folder, 'calls');
  for (const part of ['kind', 'dist', 'bin', 'path']) await mkdir(join(folder, part));
  await writeFile(join(folder, 'dist/kubespiffe-image.tar'), '');
  for (const file of ['up', ...minors.map((minor) => `${minor}.yaml`)]) {
    await copyFile(join(kind, file), join(folder, 'kind', file));
  }
  const said = 'the API server serves no PodCertificateRequests: Kubernetes 1.37 does';
  const recorder = `#!/bin/sh\necho "\${0##*/} $*" >> ${calls}\ncase $* in *logs*signer*) echo '${said}' ;; esac\n`;
  for (const program of ['path/kind', 'path/kubectl', 'path/docker', 'bin/kubespiffe']) {
    await writeFile(join(folder, program), recorder);
    await chmod(join(folder, program), 0o755);
  }
});
after(() => removeStateFolder(folder));

async function up(...args: string[]): Promise<{ code: number; output: string; calls: string[] }> {
  await writeFile(calls, '');
  const env = { PATH: `${join(folder, 'path')}:/usr/bin:/bin` };
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    const child = execFile(join(folder, 'kind/up'), args, { env }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, output: stdout + stderr }),
    );
  });
  return { code, output, calls: (await readFile(calls, 'utf8')).trim().split('\n') };
}

const waits = (lines: string[]) => lines.filter((line) => /rollout status|wait --for/.test(line));

for (const minor of minors.slice(1)) {
  test(`kind/up ${minor} installs everything, waits for the signer and for a pod with a certificate`, async () => {
    const done = await up(minor, `kindest/node:v${minor}.0`);
    assert.equal(done.code, 0, done.output);
    assert.match(done.calls[0] ?? '', new RegExp(`^kind create cluster --config \\S+/${minor}\\.yaml`));
    assert.ok(done.calls.some((line) => line.startsWith('kubespiffe ca create ')));
    assert.equal(waits(done.calls).length, 2);
  });
}

test('kind/up 1.34, where no signer can be ready, ends with the reason of the signer instead of waiting', async () => {
  const done = await up('1.34', 'kindest/node:v1.34.0');
  assert.equal(done.code, 0, done.output);
  assert.match(done.output, /the API server serves no PodCertificateRequests/);
  assert.ok(done.calls.some((line) => line.startsWith('kubespiffe ca create ')));
  assert.deepEqual(waits(done.calls), []);
});

test('kind/up reports what is missing before it makes anything', async () => {
  assert.match((await up('1.30')).output, /no configuration for 1\.30/);
  assert.match((await up('1.36')).output, /which image\?/);
  assert.deepEqual((await up('1.36')).calls, ['']);
});
