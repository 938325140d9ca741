import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { poolObjects, poolPath, startApi, writeContexts } from './api-server.ts';
import { launcher, run } from './run.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-terminal-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const now = Math.floor(Date.now() / 1_000);
const trustDomain = 'example.org';

/** A command that does not end is a failure, not a run that hangs. */
const limit = { timeout: 60_000, killSignal: 'SIGKILL' } as const;

/** Runs a command whose standard output is closed before it prints anything. */
async function runUnread(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(launcher, args, { stdio: ['ignore', 'pipe', 'pipe'], ...limit });
  child.stdout.destroy();
  const [[code], stderr] = await Promise.all([once(child, 'close'), text(child.stderr)]);
  return { code, stderr };
}

describe('a command whose output has no reader', () => {
  it('inspect of what does not conform ends with 1, also if nothing reads what it prints', async () => {
    const file = join(folder, 'bundle.json');
    writeFileSync(file, JSON.stringify({ keys: [{ kty: 'EC', use: 'jwt-svid' }] }));
    const command = ['inspect', file];
    const read = await run(command);
    assert.equal(read.code, 1);
    assert.notEqual(read.stdout, '');
    assert.deepEqual(await runUnread(command), { code: 1, stderr: read.stderr });
  });

  it('ca rotate --wait takes all its steps, also if nothing reads what it prints', async () => {
    const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 86_400 });
    const {
      publishedAt: _,
      activatedAt: __,
      ...next
    } = await createAuthority({ id: 'ca-2', trustDomain, now });
    await using api = await startApi(poolObjects(trustDomain, first, { ...next, state: 'prepared' }));
    const states = () => {
      const { authorities } = JSON.parse(poolJsonIn(api.objects.get(poolPath) ?? {}) ?? '{}');
      return authorities.map(({ state }: { state: string }) => state);
    };
    const seen = new Set<string>();
    api.onCall = () => {
      seen.add(states().join());
      // The root was published a minute ago, by the clock of the server.
      if (states().includes('trusted')) api.now = now + 60;
    };
    const kubeconfig = join(folder, 'kubeconfig.json');
    writeContexts(kubeconfig, { here: api }, 'here');
    const options = ['--propagation-delay', '1s', '--kubeconfig', kubeconfig];
    const { code, stderr } = await runUnread(['ca', 'rotate', '--wait', ...options]);
    assert.equal(code, 0, stderr);
    // The first step was printed, to nothing, before the second one.
    assert.deepEqual([...seen], ['active,prepared', 'active,trusted', 'retiring,active']);
  });
});
