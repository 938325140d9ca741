import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, it } from 'node:test';
import { createReporter, type Report, type Reported } from '../../signer/issuance/report.ts';
import type { RecordedEvent } from '../../signer/kube/event-backlog.ts';
import type { AuditRecord } from '../../signer/observe/audit.ts';
import type { Logger } from '../../signer/observe/log.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { explain, outcomes, type Reason } from '../../signer/observe/reasons.ts';
import { anOpenRequest, aSupportedKey } from './examples.ts';

const request = anOpenRequest();
const spiffeId = 'spiffe://example.org/ns/shop/sa/web';
const certificate = {
  spiffeId,
  serial: '4a1b',
  authority: 'x',
  publicKeySha256: hash('sha256', aSupportedKey.spki, 'hex'),
  notBefore: 1,
  notAfter: 2,
};

function reporter() {
  const events: RecordedEvent[] = [];
  const audits: AuditRecord[] = [];
  const lines: { level: string; fields: object; message: string }[] = [];
  const logAt = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields, message });
  const metrics = createMetrics();
  const report = createReporter({
    log: { debug: logAt('debug'), info: logAt('info'), warn: logAt('warn') } as unknown as Logger,
    metrics,
    signerName: request.signerName,
    audit: (record) => void audits.push(record as AuditRecord),
    events: { record: (event) => void events.push(event), run: async () => undefined },
  });
  let last: Reported | undefined;
  const say = (reason: Reason, different: Partial<Report> = {}) => {
    last = report({ request, reason, detail: 'd', isOwner: true, elapsedMs: 1, ...different }, last);
  };
  const forget = () => {
    last = undefined;
  };
  const counted = async (reason: Reason) =>
    Number(new RegExp(`reason="${reason}".*} (\\d+)$`, 'm').exec(await metrics.render())?.[1] ?? 0);
  return { say, forget, events, audits, lines, counted, metrics };
}

const reasons = Object.keys(outcomes) as Reason[];
const isAnswer = (reason: Reason) => ['issue', 'deny'].includes(outcomes[reason].verdict);

describe('an outcome', () => {
  it('an outcome is counted from zero, so that an alert on its increase sees the first one', async () => {
    const { metrics } = reporter();
    const shown = await metrics.render();
    for (const reason of reasons) {
      const { verdict } = outcomes[reason];
      const series = `{outcome="${verdict}",reason="${reason}",signer="${request.signerName}"} 0\n`;
      assert.ok(shown.includes(`kubespiffe_issuance_total${series}`), reason);
    }
  });

  for (const reason of reasons) {
    it(`${reason} shows in the log, the metric, the audit line and, if its row says so, on the pod`, async () => {
      const { say, events, audits, lines, counted } = reporter();
      say(reason);
      const { alarm, event, passesWithinMs } = outcomes[reason];
      const message = explain(reason, 'd');
      assert.deepEqual(
        lines.map((line) => [line.level, line.message]),
        [[alarm ? 'warn' : 'info', message]],
      );
      assert.equal(await counted(reason), 1);
      assert.partialDeepStrictEqual(audits, [{ reason, message, request: { uid: request.uid } }]);
      assert.equal(events.length, event && passesWithinMs === 0 ? 1 : 0);
    });

    it(`${reason} is reported by a replica that is not the owner ${isAnswer(reason) ? 'too' : 'at debug level only'}`, async () => {
      const { say, events, audits, lines, counted } = reporter();
      say(reason, { isOwner: false });
      const expected = isAnswer(reason) ? 1 : 0;
      assert.equal(audits.length, expected);
      assert.equal(await counted(reason), expected);
      assert.equal(events.length, expected && outcomes[reason].event ? 1 : 0);
      assert.equal(lines[0]?.level === 'debug', !isAnswer(reason));
    });
  }

  it('the outcome of a certificate names all that is known of it, but only the hash of its key', () => {
    const { say, audits, lines } = reporter();
    say('Issued', { detail: spiffeId, certificate });
    assert.partialDeepStrictEqual(audits[0], {
      outcome: 'Issued',
      namespace: 'shop',
      pod: { name: 'web-0', uid: 'pod-uid' },
      serviceAccount: { name: 'web', uid: 'service-account-uid' },
      node: { name: 'node-1', uid: 'node-uid' },
      spiffeId,
      serial: '4a1b',
      authority: 'x',
      publicKeySha256: hash('sha256', aSupportedKey.spki, 'hex'),
    });
    assert.partialDeepStrictEqual(lines[0]?.fields, { serial: '4a1b', spiffeId });
  });

  it('the outcome of a certificate without a SPIFFE ID names its DNS names in log and audit line', () => {
    const { say, audits, lines } = reporter();
    const dnsNames = ['web.shop.svc', 'web.shop.svc.cluster.local'];
    const { spiffeId: _, ...unnamed } = certificate;
    say('Issued', { detail: 'web.shop.svc', certificate: { ...unnamed, dnsNames } });
    for (const shown of [audits[0], lines[0]?.fields]) {
      assert.partialDeepStrictEqual(shown, { dnsNames, serial: '4a1b' });
      assert.ok(shown && !('spiffeId' in shown));
    }
  });

  it('an outcome is shown on the pod under one key for all requests of the pod, which come every 15 minutes', () => {
    const { say, forget, events } = reporter();
    say('PoolUnusable');
    forget();
    say('PoolUnusable', { request: anOpenRequest({ uid: 'the next one', name: 'req-2' }) });
    assert.deepEqual(
      events.map(({ key, regarding, related }) => [key, regarding.name, related?.name]),
      [
        ['pod-uid/PoolUnusable', 'web-0', 'req-1'],
        ['pod-uid/PoolUnusable', 'web-0', 'req-2'],
      ],
    );
  });

  it('an outcome that stays is reported once, until the request is forgotten', () => {
    const { say, forget, events, audits } = reporter();
    for (let round = 0; round < 10; round += 1) say('PoolUnusable');
    assert.deepEqual([audits.length, events.length], [1, 1]);
    forget();
    say('PoolUnusable');
    assert.deepEqual([audits.length, events.length], [2, 2]);
  });

  it('an outcome that comes back after another one is reported again', () => {
    const { say, audits } = reporter();
    for (const reason of ['PoolUnusable', 'ClockSkew', 'PoolUnusable'] as const) say(reason);
    assert.equal(audits.length, 3);
  });

  for (const reason of reasons.filter((each) => outcomes[each].passesWithinMs > 0)) {
    it(`${reason} is shown on the pod once if it lasts longer than usual, even if the request is old`, () => {
      const { say, events, audits } = reporter();
      const { passesWithinMs } = outcomes[reason];
      const begins = 300_000;
      say('PoolUnusable', { elapsedMs: begins - 1 });
      for (const elapsedMs of [0, passesWithinMs - 1]) say(reason, { elapsedMs: begins + elapsedMs });
      assert.deepEqual(
        events.map((event) => event.reason),
        ['PoolUnusable'],
      );
      // Another cause of the same reason is reported too, and does not begin its time anew.
      for (const detail of ['d', 'd', 'e', 'e']) {
        say(reason, { detail, elapsedMs: begins + passesWithinMs });
      }
      assert.deepEqual(
        events.map(({ note }) => note).slice(1),
        ['d', 'e'].map((detail) => explain(reason, detail)),
      );
      assert.equal(audits.length, 3);
    });
  }
});
