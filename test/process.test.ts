import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const launcher = path.join(import.meta.dirname, '../bin/kubespiffe');

/** Runs `kubespiffe signer` until it ends by itself. */
function runSigner(...flags: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const args = ['signer', '--trust-domain', 'example.org', ...flags];
    const child = execFile(
      launcher,
      args,
      { timeout: 20_000, killSignal: 'SIGKILL' },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, output: stdout + stderr }),
    );
  });
}

test('a signer that cannot reach a cluster by its kubeconfig reports that and ends with 1', async () => {
  const { code, output } = await runSigner(
    ...['--kubeconfig', '/nonexistent/config', '--metrics-address', '127.0.0.1:0'],
  );
  assert.match(output, /"level":"fatal".*\/nonexistent\/config/);
  assert.equal(code, 1);
});

test('a signer whose address for metrics is in use reports that and ends with 1', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const { code, output } = await runSigner('--metrics-address', `127.0.0.1:${port}`);
  assert.match(output, /"level":"fatal".*EADDRINUSE/);
  assert.equal(code, 1);
});

test('a signer that gets SIGUSR1 before it is configured opens no debugger', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'kubespiffe-process-'));
  t.after(() => rm(folder, { recursive: true }));
  const config = path.join(folder, 'config.yaml');
  await promisify(execFile)('mkfifo', [config]);
  const ended = runSigner('--config', config);
  // Opens as soon as the signer reads, which then waits for what is written.
  const file = await open(config, 'w');
  const [pid] = (await promisify(execFile)('pgrep', ['-f', config])).stdout.split('\n');
  process.kill(Number(pid), 'SIGUSR1');
  await file.write('unknownKey: 1\n');
  await file.close();
  const { code, output } = await ended;
  assert.match(output, /unknownKey/);
  assert.doesNotMatch(output, /Debugger/);
  assert.equal(code, 2);
});

for (const [signal, flags] of [
  ['SIGTERM', []],
  ['SIGINT', ['--token-address', '127.0.0.1:0', '--jwt-issuer', 'https://tokens.example.org']],
] as const) {
  test(`a signer that gets ${signal} while it still waits for its credentials ends with 0`, async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'kubespiffe-process-'));
    t.after(() => rm(folder, { recursive: true }));
    const plugin = path.join(folder, 'plugin');
    await writeFile(plugin, `#!/bin/sh\nkill -${signal.slice(3)} $PPID\nexec sleep 60\n`);
    await chmod(plugin, 0o755);
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: plugin,
      interactiveMode: 'Never',
    };
    const kubeconfig = path.join(folder, 'config');
    await writeFile(
      kubeconfig,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'nowhere', cluster: { server: 'https://127.0.0.1:1' } }],
        users: [{ name: 'plugin', user: { exec } }],
        contexts: [{ name: 'nowhere', context: { cluster: 'nowhere', user: 'plugin' } }],
        'current-context': 'nowhere',
      }),
    );
    const { code, output } = await runSigner(
      ...['--kubeconfig', kubeconfig, '--metrics-address', '127.0.0.1:0'],
      ...flags,
    );
    assert.match(output, new RegExp(`"reason":"${signal}".*"signer ends before it has started"`));
    assert.equal(code, 0);
  });
}

test('a signer with unusable settings names them all and ends with 2', async () => {
  const { code, output } = await runSigner('--token-address', 'x', '--bundle-web-address', ':0');
  assert.match(output, /^flag --token-address: .*\n(.*\n)*flag --bundle-web-key: is required/m);
  assert.equal(code, 2);
});
