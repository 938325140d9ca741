import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const bench = path.join(import.meta.dirname, '../bench/bench.ts');

// The figures of a quick run on a busy machine say nothing; that each of them is there says that the bench works.
test('the bench measures every figure', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'kubespiffe-bench-'));
  t.after(() => rm(folder, { recursive: true }));
  const output = path.join(folder, 'bench.json');
  const { stdout } = await promisify(execFile)(process.execPath, [bench, '--quick', '--output', output]);
  const { figures } = JSON.parse(await readFile(output, 'utf8')) as {
    figures: { figure: string; measured: string; limit: string }[];
  };
  const kinds = [
    /^burst, one replica/,
    /^burst, two replicas just started/,
    /^backlog of/,
    /^steady 20\/s.* p50/,
    /^steady 100\/s.* p99/,
    /^steady 100\/s, worst/,
    /^one request of a namespace beside/,
    /^signer CPU per 1000/,
    /^API server CPU per 1000/,
    /^traces that are off, CPU per certificate/,
    /^API calls per certificate/,
    /^connections/,
    /^RSS after/,
    /^RSS with full/,
    /^start to ready/,
    /^signer CPU per 1000, \d+ registrations/,
    /^signer CPU per 1000, service-dns/,
    /^status writes for a change of one registration/,
    /^signer CPU for this change/,
    /^burst of \d+, \d+ other trust domains/,
    /^signer CPU per 1000 in it$/,
    /^CPU to keep \d+ bundles fresh/,
    /^RSS for \d+ bundles/,
    /^latest of \d+ fetches/,
    /^from the fetch of a changed bundle/,
    /^tokens, repeated$/,
    /^tokens, repeated, per CPU second/,
    /^tokens, first use$/,
    /^tokens, first use, p50 and p99/,
    /^tokens, by certificate$/,
    /^tokens, by certificate, p50 and p99/,
    /^certificates by token$/,
    /^bundle, p50 and p99/,
    /^RSS under 3 s of load/,
    /^tokens, connections/,
    /^signatures by SoftHSM2, 32 at once/,
    /^signatures by SoftHSM2 with 20 ms for each, 1 at once/,
    /^certificates, burst of \d+ by a token with 20 ms/,
    /^not ready, burst of/,
    /^writes of the record of the CA/,
    /^FetchX509SVID, \d+ callers/,
    /^FetchX509SVID, per CPU second/,
    /^FetchX509SVID, p50 and p99/,
    /^rotation, last of \d+ streams/,
    /^RSS of the Workload API at rest/,
    /^RSS with \d+ streams/,
    /^FetchJWTSVID, cached/,
    /^FetchJWTSVID, a new audience/,
    /^mTLS handshakes/,
    /^kubespiffe dev, from its start/,
  ];
  for (const kind of kinds) {
    const found = figures.filter(({ figure }) => kind.test(figure));
    assert.ok(found.length > 0, `no figure is like ${kind}`);
    for (const { figure, measured } of found) {
      assert.ok(stdout.includes(figure), figure);
      assert.doesNotMatch(measured, /NaN|Infinity|undefined/, figure);
    }
  }
});
