import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { createMetrics } from '../../signer/observe/metrics.ts';

test('every metric of ours has our prefix, a help text and a type', async () => {
  const text = await createMetrics({ version: '1.2.3' }).render();
  const names = [...text.matchAll(/^# TYPE (\S+) \S+$/gm)].map(([, name]) => name ?? '');
  const ours = names.filter((name) => !/^(process|nodejs)_/.test(name));
  assert.ok(ours.length >= 17);
  for (const name of ours) {
    assert.match(name, /^kubespiffe_[a-z0-9_]+$/);
    assert.match(text, new RegExp(`^# HELP ${name} .+\\.$`, 'm'));
  }
});

test('counted and observed values are rendered with their labels', async () => {
  const metrics = createMetrics({ version: '1.2.3' });
  metrics.issuance.inc({ outcome: 'issue', reason: 'Issued', signer: 'kubespiffe.io/spiffe' });
  metrics.issuanceLatency.observe({ outcome: 'issue', signer: 'kubespiffe.io/spiffe' }, 0.03);
  metrics.authorityExpiry.set({ authority: 'a1', state: 'active' }, 1_800_000_000);
  const text = await metrics.render();
  const has = (line: string) => assert.ok(text.includes(`\n${line}\n`), `${line} in ${text}`);
  has('kubespiffe_issuance_total{outcome="issue",reason="Issued",signer="kubespiffe.io/spiffe"} 1');
  has(
    'kubespiffe_issuance_latency_seconds_bucket{le="0.025",outcome="issue",signer="kubespiffe.io/spiffe"} 0',
  );
  has(
    'kubespiffe_issuance_latency_seconds_bucket{le="0.05",outcome="issue",signer="kubespiffe.io/spiffe"} 1',
  );
  has('kubespiffe_authority_expiry_timestamp_seconds{authority="a1",state="active"} 1800000000');
  has(`kubespiffe_build_info{version="1.2.3",node="${process.versions.node}"} 1`);
});

test('process metrics are read at each scrape', async () => {
  const metrics = createMetrics();
  const value = (text: string, name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  const first = await metrics.render();
  assert.ok(value(first, 'process_resident_memory_bytes') > 10_000_000);
  const before = value(first, 'process_cpu_seconds_total');
  while (process.cpuUsage().user / 1e6 < before + 0.01) Math.sqrt(Math.random());
  assert.ok(value(await metrics.render(), 'process_cpu_seconds_total') > before);
});

test('two sets of metrics in one process are independent', async () => {
  const one = createMetrics();
  const two = createMetrics();
  one.clockSkew.set(1);
  assert.match(await one.render(), /^kubespiffe_clock_skew_seconds 1$/m);
  assert.match(await two.render(), /^kubespiffe_clock_skew_seconds 0$/m);
});

test('the parts of prom-client that a single process never uses are not loaded', () => {
  const program = `
    await import('./signer/observe/metrics.ts');
    const { default: module } = await import('node:module');
    console.log(Object.keys(module._cache).join('\\n'));`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /prom-client\/lib\/histogram\.js/);
  assert.doesNotMatch(run.stdout, /prom-client\/(index|lib\/(cluster|pushgateway|defaultMetrics))\.js/);
});
