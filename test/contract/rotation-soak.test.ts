import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { startDev } from '../dev/dev.ts';
import type { Sample } from './rotation-soak/report.ts';

/** Three minutes, unless a variable says otherwise. */
const seconds = Number(process.env.KUBESPIFFE_SOAK_SECONDS ?? 180);
/** Certificates are replaced after half of it. The other half is for a machine where nothing runs for some seconds. */
const lifetimeSeconds = 15;
/** More than the six seconds for which a root is published before it signs. */
const secondsBetweenCas = 20;

const folder = mkdtempSync(join(tmpdir(), 'soak-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function samplesOf({ lastLines }: Child): Sample[] {
  return lastLines(100_000)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Sample);
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;

/** The median of the second third of the time, and of the last one: the first third is for warming up. */
function ofThirds(samples: readonly Sample[], member: 'heapBytes' | 'rssBytes' | 'openFiles' | 'handles') {
  const third = Math.floor(samples.length / 3);
  const values = samples.map((sample) => sample[member]);
  return [median(values.slice(third, 2 * third)), median(values.slice(2 * third))] as const;
}

test(`two programs talk over mTLS for ${seconds} s while certificates and CAs are replaced, and no request fails`, async (t) => {
  await using dev = await startDev(
    ['--lifetime', `${lifetimeSeconds}s`, '--workload', 'shop/web', '--workload', 'shop/api'],
    mkdtempSync(join(folder, 'dev-')),
  );
  const start = (name: string, env: NodeJS.ProcessEnv) => {
    const command = [
      process.execPath,
      '--expose-gc',
      join(import.meta.dirname, 'rotation-soak', `${name}.ts`),
    ];
    const all = { ...process.env, SPIFFE_TRUST_DOMAIN: 'dev.localhost', ...env };
    return startChild(name, command, { logFile: join(folder, `${name}.log`), env: all });
  };
  const server = start('server', { SPIFFE_CREDENTIALS: join(dev.folder, 'shop/web') });
  const port = await waitFor('the server', () => /^port (\d+)$/m.exec(server.lastLines(1_000))?.[1], {
    needs: [server],
  });
  const client = start('client', {
    PORT: port,
    SPIFFE_ENDPOINT_SOCKET: `unix://${dev.folder}/shop/api/workload-api.sock`,
  });
  const programs = [client, server];
  const needs = [dev.child, ...programs];
  await waitFor('a request', () => samplesOf(client).some(({ requests }) => requests > 0), { needs });

  let cas = 1;
  for (let at = secondsBetweenCas; at < seconds; at += secondsBetweenCas) {
    await waitFor(`${at} s`, () => samplesOf(client).length >= at, { needs, everyMs: 500 });
    const { code, stderr } = await dev.ask('rotate', '--ca');
    assert.equal(code, 0, stderr);
    cas += 1;
  }
  const enough = (child: Child) => samplesOf(child).length >= seconds;
  await waitFor('the end', () => programs.every(enough), {
    needs,
    everyMs: 500,
    timeoutMs: 2 * 60_000,
  });

  for (const child of programs) {
    const samples = samplesOf(child);
    const last = samples.at(-1);
    assert.ok(last);
    const { requests, certificates, failures } = last;
    t.diagnostic(`${child.name}: ${requests} requests, ${certificates} certificates and bundles, ${cas} CAs`);
    assert.deepEqual(failures, [], child.name);
    assert.ok(requests > seconds * 5, `${requests} requests`);
    assert.ok(certificates > seconds / lifetimeSeconds, `${certificates} certificates`);
    const grown = {
      heapBytes: 1.5e6,
      rssBytes: 15e6,
      openFiles: 4,
      handles: 4,
    } as const;
    for (const [member, most] of Object.entries(grown) as [keyof typeof grown, number][]) {
      const [before, later] = ofThirds(samples, member);
      t.diagnostic(`${child.name}: ${member} ${before}, then ${later}`);
      assert.ok(later - before <= most, `${child.name}: ${member} grew from ${before} to ${later}`);
    }
  }
  for (const child of programs) await child.stop();
});
