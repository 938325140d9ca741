import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pass, refuse } from '../../signer/observe/checked.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { type RefusalCode, refusals } from '../../signer/observe/refusals.ts';
import { createTokenReporter } from '../../signer/token/report.ts';
import { timeWith } from '../kube/fake-time.ts';

const address = '10.0.0.1';

interface Line {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

function reporter() {
  const lines: Line[] = [];
  const audited: object[] = [];
  const metrics = createMetrics();
  const at = (level: string) => (fields: object, message?: string) =>
    lines.push({ level, fields, message: message ?? '' });
  const report = createTokenReporter({
    log: { debug: at('debug'), info: at('info'), warn: at('warn') } as unknown as Parameters<
      typeof createTokenReporter
    >[0]['log'],
    metrics,
    audit: (record) => audited.push(record),
    events: { record: () => undefined },
    time: timeWith({ monotonic: () => 1 }),
  });
  const context = { path: '', address, startedAt: 0, caller: undefined };
  const refuses = (listener: string, svid: 'token' | undefined, code: RefusalCode) =>
    report({ listener, svid }, context, refuse(code));
  const issued = (spiffeId: string) =>
    report(
      { listener: 'token-endpoint', svid: 'token' },
      context,
      pass({
        ...{ kind: 'token', token: 'x.y.z', expiresIn: 1, spiffeId },
        ...{ audiences: ['a'], keyId: 'k', tokenId: 'i', notAfter: 2 },
      }),
    );
  return {
    refuses,
    issued,
    lines,
    audited,
    metrics,
    get warnings() {
      return lines.filter(({ level }) => level === 'warn');
    },
  };
}

const ofLength = (length: number) => 'spiffe://example.org/ns/n/sa/'.padEnd(length, 'a');

describe('a SPIFFE ID that Google Cloud would refuse', () => {
  it('a SPIFFE ID of 128 bytes or more is logged as too long for Google Cloud', () => {
    const told = reporter();
    told.issued(ofLength(127));
    assert.equal(told.warnings.length, 0);
    told.issued(ofLength(128));
    assert.deepEqual(told.warnings[0]?.fields, { spiffeId: ofLength(128), bytes: 128 });
    assert.match(told.warnings[0]?.message ?? '', /127 bytes/);
  });

  it('a SPIFFE ID that is too long for Google Cloud is logged once, and not with every token', () => {
    const told = reporter();
    for (const length of [128, 129, 128, 129, 128]) told.issued(ofLength(length));
    assert.equal(told.warnings.length, 2);
  });

  it('a logged SPIFFE ID is forgotten when there are too many to remember', () => {
    const told = reporter();
    for (let length = 128; length <= 128 + 1_000; length += 1) told.issued(ofLength(length));
    assert.equal(told.warnings.length, 1_001);
    told.issued(ofLength(128));
    assert.equal(told.warnings.length, 1_002);
  });
});

describe('a refusal', () => {
  it('a refusal of a request for no SVID is counted for its listener, and has no audit line', async () => {
    const { refuses, lines, audited, metrics } = reporter();
    refuses('bundle-web', undefined, 'RouteUnknown');
    const text = await metrics.render();
    assert.match(text, /^kubespiffe_other_refusals_total\{listener="bundle-web",reason="RouteUnknown"\} 1$/m);
    assert.doesNotMatch(text, /^kubespiffe_tokens_total\{.* [^0]/m);
    assert.deepEqual(audited, []);
    assert.deepEqual(
      lines.map(({ level, fields }) => [level, fields]),
      [['debug', { listener: 'bundle-web', reason: 'RouteUnknown', address }]],
    );
  });

  it('a refusal that is an alarm is counted from zero, so that an alert on its increase sees the first one', async () => {
    const text = await reporter().metrics.render();
    const alarms = Object.entries(refusals).filter(([, { alarm }]) => alarm);
    for (const counter of ['tokens', 'x509_svids']) {
      const series = new RegExp(`^kubespiffe_${counter}_total\\{.*reason="(\\w+)"\\} 0$`, 'gm');
      assert.deepEqual(
        [...text.matchAll(series)].map(([, reason]) => reason),
        alarms.map(([reason]) => reason),
      );
    }
  });

  it('a refusal caused by a bug is logged as a warning on every listener', () => {
    const { refuses, lines } = reporter();
    refuses('bundle-spiffe', undefined, 'InternalError');
    refuses('token-endpoint', 'token', 'InternalError');
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn', 'warn'],
    );
  });

  for (const code of ['AddressLimited', 'Overloaded'] as const) {
    it(`a refusal of a flood is only counted: ${code}`, async () => {
      const { refuses, lines, audited, metrics } = reporter();
      refuses('bundle-web', undefined, code);
      refuses('token-endpoint', 'token', code);
      assert.deepEqual([lines, audited], [[], []]);
      const text = await metrics.render();
      assert.match(text, new RegExp(`^kubespiffe_other_refusals_total\\{.*reason="${code}"\\} 1$`, 'm'));
      assert.match(text, new RegExp(`^kubespiffe_tokens_total\\{.*reason="${code}"\\} 1$`, 'm'));
    });
  }
});
