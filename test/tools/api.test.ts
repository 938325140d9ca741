import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { withApi } from '../../tools/api.ts';
import type { Terminal } from '../../tools/terminal.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { poolObjects, poolPath, type StoredApi, startApi, writeContexts } from './api-server.ts';
import { run } from './run.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-api-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A cluster whose next CA may sign one second later, if `--propagation-delay 1s` is given. */
async function startCluster(trustDomain: string, now: number): Promise<StoredApi> {
  const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 86_400 });
  const { activatedAt: _, ...next } = await createAuthority({ id: 'ca-2', trustDomain, now });
  const cluster = await startApi(
    poolObjects(trustDomain, first, { ...next, state: 'trusted', publishedAt: rfc3339(now) }),
  );
  cluster.now = now;
  return cluster;
}

const readsOfPool = ({ calls }: StoredApi) => calls.filter((call) => call === `GET ${poolPath}`).length;
const writes = ({ calls }: StoredApi) => calls.filter((call) => !call.startsWith('GET '));

function stateOf(cluster: StoredApi, id: string): string | undefined {
  const pool = JSON.parse(poolJsonIn(cluster.objects.get(poolPath) ?? {}) ?? '{}');
  return pool.authorities.find((each: { id: string }) => each.id === id)?.state;
}

describe('the cluster of a command that waits', () => {
  for (const verb of [['rotate'], ['activate', 'ca-2']]) {
    it(`ca ${verb[0]} --wait stays with its cluster when another context becomes the current one`, async () => {
      const now = Math.floor(Date.now() / 1_000);
      await using own = await startCluster('own.example', now);
      await using other = await startCluster('other.example', now);
      const kubeconfig = join(folder, `${verb[0]}.json`);
      writeContexts(kubeconfig, { own, other }, 'own');
      // The pool was read once, and the next CA is not ready: the command is about to wait.
      own.onCall = () => {
        if (readsOfPool(own) === 1) writeContexts(kubeconfig, { own, other }, 'other');
        else if (readsOfPool(own) === 2) own.now = now + 60;
      };
      const options = ['--propagation-delay', '1s', '--kubeconfig', kubeconfig];
      const ran = await run(['ca', ...verb, '--wait', ...options]);
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stderr, /can sign from|waiting until/, 'the command did not wait');
      assert.deepEqual(writes(own), [`PUT ${poolPath}`]);
      assert.equal(stateOf(own, 'ca-2'), 'active');
      assert.deepEqual(other.calls, []);
    });
  }

  it('ca rotate --wait changes no pool when its address leads to another one than before', async () => {
    const now = Math.floor(Date.now() / 1_000);
    await using own = await startCluster('own.example', now);
    await using other = await startCluster('other.example', now);
    const kubeconfig = join(folder, 'address.json');
    writeContexts(kubeconfig, { own }, 'own');
    own.onCall = () => {
      if (readsOfPool(own) !== 2) return;
      for (const [path, object] of other.objects) own.objects.set(path, object);
    };
    const command = ['ca', 'rotate', '--wait', '--propagation-delay', '1s', '--kubeconfig', kubeconfig];
    const { code, stderr } = await run(command);
    assert.equal(code, 1);
    assert.match(stderr, /^error: Secret kubespiffe\/kubespiffe-pool has another UID than the one/m);
    assert.deepEqual(writes(own), []);
  });

  it('a command that waits uses the credentials that its context has by then', async () => {
    const tokens: (string | undefined)[] = [];
    const server = createServer(await webCredentials(), ({ headers }, response) => {
      tokens.push(headers.authorization);
      response.end('{}');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const kubeconfig = join(folder, 'credentials.json');
    const terminal = { env: {} } as Terminal;
    const { port } = server.address() as AddressInfo;
    try {
      for (const token of ['first', 'second']) {
        const cluster = { server: `https://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
        const content = {
          ...{ clusters: [{ name: 'a', cluster }], users: [{ name: 'a', user: { token } }] },
          ...{ contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }], 'current-context': 'a' },
        };
        writeFileSync(kubeconfig, JSON.stringify(content));
        await withApi({ kubeconfig }, terminal, (api) =>
          api.request({ method: 'GET', path: '/version', resource: 'version' }),
        );
      }
    } finally {
      server.close();
    }
    assert.deepEqual(tokens, ['Bearer first', 'Bearer second']);
  });
});
