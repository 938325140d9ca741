import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setGauges } from '../../signer/federation/federation.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';

test('the gauges of federation have a value for each resource, also if several have one trust domain', async () => {
  const metrics = createMetrics();
  const common = { trustDomain: 'example.org', createdAt: '2025-12-31T23:59:00Z' };
  const confirmed = (name: string, time: string, x509Keys: number) => ({
    ...{ ...common, name },
    status: { lastSuccessTime: time, x509Keys, jwtKeys: 1 },
  });
  const conditions = [
    { type: 'Ready', status: 'False' },
    { type: 'BundleInvalid', status: 'False' },
    { type: 'Unreachable', status: 'True' },
  ];
  const resources = [
    confirmed('east', '2026-01-01T00:00:00Z', 1),
    confirmed('west', '2026-01-01T00:00:50Z', 2),
    { ...common, name: 'never', status: { conditions } },
  ];
  setGauges(metrics, resources, Date.parse('2026-01-01T00:01:00Z') / 1000);
  const lines = (await metrics.render()).split('\n');
  const valuesOf = (name: string) => lines.filter((line) => line.startsWith(`kubespiffe_${name}{`)).sort();
  assert.deepEqual(valuesOf('federation_bundle_age_seconds'), [
    'kubespiffe_federation_bundle_age_seconds{peer="example.org",resource="east"} 60',
    'kubespiffe_federation_bundle_age_seconds{peer="example.org",resource="never"} 120',
    'kubespiffe_federation_bundle_age_seconds{peer="example.org",resource="west"} 10',
  ]);
  assert.deepEqual(valuesOf('federation_problem'), [
    'kubespiffe_federation_problem{peer="example.org",resource="never",condition="Unreachable"} 1',
  ]);
  assert.deepEqual(valuesOf('federation_keys'), [
    'kubespiffe_federation_keys{peer="example.org",resource="east",use="jwt-svid"} 1',
    'kubespiffe_federation_keys{peer="example.org",resource="east",use="x509-svid"} 1',
    'kubespiffe_federation_keys{peer="example.org",resource="west",use="jwt-svid"} 1',
    'kubespiffe_federation_keys{peer="example.org",resource="west",use="x509-svid"} 2',
  ]);
});
