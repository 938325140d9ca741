import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startControlPlane } from '../../cluster/control-plane.ts';
import { waitFor } from '../../cluster/process.ts';

async function servedVersions(controlPlane: {
  request: (m: 'GET', p: string) => Promise<{ body: unknown }>;
}) {
  const { body } = await controlPlane.request('GET', '/apis/certificates.k8s.io');
  return (body as { versions: { version: string }[] }).versions.map(({ version }) => version);
}

test('a control plane serves, issues ServiceAccount tokens, and comes back after kill -9', async (t) => {
  const controlPlane = await startControlPlane();
  t.after(() => controlPlane.stop());

  await t.test('serves pod certificates as v1 alone', async () => {
    assert.deepEqual(await servedVersions(controlPlane), ['v1']);
  });

  await t.test('gives a ServiceAccount a token of its own, which can be renewed', async () => {
    const kubeconfig = await controlPlane.kubeconfigFor({ namespace: 'default', name: 'default' });
    const tokenFile = kubeconfig.replace(/\.kubeconfig$/, '.token');
    const first = await readFile(tokenFile, 'utf8');
    const who = await controlPlane.kubectl(['--kubeconfig', kubeconfig, 'auth', 'whoami', '-o', 'json']);
    assert.equal(JSON.parse(who).status.userInfo.username, 'system:serviceaccount:default:default');
    await controlPlane.rotateToken(kubeconfig);
    assert.notEqual(await readFile(tokenFile, 'utf8'), first);
  });

  await t.test('keeps its objects over a kill -9 of the API server', async () => {
    await controlPlane.kubectl(['create', 'namespace', 'kept']);
    await controlPlane.killApiServer();
    await assert.rejects(controlPlane.request('GET', '/readyz'));
    await controlPlane.startApiServer();
    assert.equal((await controlPlane.request('GET', '/api/v1/namespaces/kept')).status, 200);
  });
});

test('a control plane ends with the process that started it, even by SIGKILL', async () => {
  const module = join(import.meta.dirname, '../../cluster/control-plane.ts');
  const script = `
    const { startControlPlane } = await import(${JSON.stringify(module)});
    const controlPlane = await startControlPlane({ betaApis: true });
    const { body } = await controlPlane.request('GET', '/apis/certificates.k8s.io');
    console.log(JSON.stringify({ url: controlPlane.url, dir: controlPlane.dir, group: body }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((resolve) => createInterface(child.stdout).once('line', resolve));
  const { url, dir, group } = JSON.parse(line);
  assert.deepEqual(
    group.versions.map(({ version }: { version: string }) => version),
    ['v1', 'v1beta1'],
  );
  child.kill('SIGKILL');
  await waitFor('the API server to be gone', () =>
    fetch(url).then(
      () => false,
      (error) => error.cause?.code === 'ECONNREFUSED',
    ),
  );
  assert.ok(existsSync(dir), 'the dead process could not remove its folder');
  const next = await startControlPlane();
  assert.ok(!existsSync(dir), 'the next control plane removes it');
  await next.stop();
  assert.ok(!existsSync(next.dir));
});
