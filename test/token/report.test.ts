import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { createTokenReporter } from '../../signer/token/report.ts';

interface Line {
  readonly fields: object;
  readonly message: string;
}

function reporter() {
  const warnings: Line[] = [];
  const tell = createTokenReporter({
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (fields: object, message?: string) => warnings.push({ fields, message: message ?? '' }),
    } as unknown as Parameters<typeof createTokenReporter>[0]['log'],
    metrics: createMetrics(),
    audit: () => undefined,
    events: { record: () => undefined },
  });
  const issued = (spiffeId: string) =>
    tell({
      event: 'token',
      address: '10.0.0.1',
      elapsedMs: 1,
      audiences: ['a'],
      outcome: { ok: true, issued: { spiffeId, keyId: 'k', tokenId: 'i', notAfter: 2 } },
    });
  return { issued, warnings };
}

const ofLength = (length: number) => 'spiffe://example.org/ns/n/sa/'.padEnd(length, 'a');

describe('a SPIFFE ID that Google Cloud would refuse', () => {
  it('is warned of, from 128 bytes on', () => {
    const { issued, warnings } = reporter();
    issued(ofLength(127));
    assert.equal(warnings.length, 0);
    issued(ofLength(128));
    assert.deepEqual(warnings[0]?.fields, { spiffeId: ofLength(128), bytes: 128 });
    assert.match(warnings[0]?.message ?? '', /127 bytes/);
  });

  it('is warned of once, and not with every token', () => {
    const { issued, warnings } = reporter();
    for (const length of [128, 129, 128, 129, 128]) issued(ofLength(length));
    assert.equal(warnings.length, 2);
  });

  it('is forgotten when there are too many to remember', () => {
    const { issued, warnings } = reporter();
    for (let length = 128; length <= 128 + 1_000; length += 1) issued(ofLength(length));
    assert.equal(warnings.length, 1_001);
    issued(ofLength(128));
    assert.equal(warnings.length, 1_002);
  });
});
