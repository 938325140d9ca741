import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';

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

test('a signer that cannot reach a cluster by its kubeconfig says so and ends with 1', async () => {
  const { code, output } = await runSigner(
    ...['--kubeconfig', '/nonexistent/config', '--metrics-address', '127.0.0.1:0'],
  );
  assert.match(output, /"level":"fatal".*\/nonexistent\/config/);
  assert.equal(code, 1);
});

test('a signer whose address for metrics is taken says so and ends with 1', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const { code, output } = await runSigner('--metrics-address', `127.0.0.1:${port}`);
  assert.match(output, /"level":"fatal".*EADDRINUSE/);
  assert.equal(code, 1);
});

test('a signer with settings that cannot be used names them all and ends with 2', async () => {
  const { code, output } = await runSigner('--token-address', 'x', '--bundle-web-address', ':0');
  assert.match(output, /^flag --token-address: .*\n(.*\n)*flag --bundle-web-key: is required/m);
  assert.equal(code, 2);
});
