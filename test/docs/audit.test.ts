import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { createReporter, type Report } from '../../signer/issuance/report.ts';
import { realTime } from '../../signer/kube/time.ts';
import {
  type AuditRecord,
  createAudit,
  type TokenAuditRecord,
  type X509AuditRecord,
} from '../../signer/observe/audit.ts';
import { pass, refuse } from '../../signer/observe/checked.ts';
import type { Logger } from '../../signer/observe/log.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { outcomes, type Reason } from '../../signer/observe/reasons.ts';
import type { RefusalCode } from '../../signer/observe/refusals.ts';
import { createTokenReporter } from '../../signer/token/report.ts';
import type { RequestContext } from '../../signer/token/svid/request-context.ts';
import { anOpenRequest } from '../issuance/examples.ts';
import { timeWith } from '../kube/fake-time.ts';
import { blocksBelow, checkout, type Page, readPage } from './markdown.ts';

type All<T> = Readonly<Record<keyof T, boolean>>;

/** The compiler holds these to the records; the tables of the page are held to these. */
const ofRequest = {
  ...{ event: true, outcome: true, reason: true, message: true, signer: true, namespace: true },
  ...{ request: true, pod: true, serviceAccount: true, node: true },
  ...{
    spiffeId: true,
    dnsNames: true,
    registration: true,
    hint: true,
    serial: true,
    publicKeySha256: true,
    authority: true,
    notBefore: true,
    notAfter: true,
    traceId: true,
  },
} as const satisfies All<AuditRecord>;
const ofEndpoint = {
  ...{ event: true, outcome: true, reason: true, message: true, address: true },
  ...{ namespace: true, pod: true, serviceAccount: true, credentialId: true, spiffeId: true, notAfter: true },
  ...{ registration: true, hint: true, traceId: true },
} as const;
const ofToken = {
  ...ofEndpoint,
  audiences: true,
  tokenId: true,
  keyId: true,
} as const satisfies All<TokenAuditRecord>;
const ofX509Svid = {
  ...ofEndpoint,
  ...{ dnsNames: true, serial: true, publicKeySha256: true, authority: true, notBefore: true },
} as const satisfies All<X509AuditRecord>;

type Line = Record<string, unknown>;

/** What the code says of these facts, in its audit and in its metrics. */
function reporters(replica = 'signer') {
  const lines: Line[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  const audit = createAudit({ replica, destination: { write }, time: realTime });
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent } as unknown as Logger;
  const metrics = createMetrics();
  const events = { record: silent, run: async () => undefined };
  const report = createReporter({ log, metrics, audit, events, signerName: 'kubespiffe.io/spiffe' });
  const reportToken = createTokenReporter({
    log,
    metrics,
    audit,
    events,
    time: timeWith({ monotonic: () => 1 }),
  });
  return { lines, metrics, report, reportToken };
}

describe('the page on audit lines', () => {
  let page: Page;
  before(async () => {
    page = await readPage('docs/reference/metrics.md');
  });

  /** The members in the rows of a table, and when each is present. */
  function table(title: string): Map<string, string> {
    const section = page.text.split(`\n### ${title}\n`)[1]?.split(/\n##+ /)[0] ?? '';
    const rows = [...section.matchAll(/^\| (`.+?`) \| ([^|]+) \|/gm)];
    return new Map(
      rows.flatMap(([, names = '', present = '']) =>
        [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name ?? '', present] as const),
      ),
    );
  }
  // biome-ignore lint/suspicious/noExplicitAny: whatever the page shows
  const sample = (title: string): any => JSON.parse(blocksBelow(page, title)[0]?.code ?? '');

  for (const [title, members] of [
    ['Of a PodCertificateRequest', ofRequest],
    ['Of a JWT-SVID', ofToken],
    ['Of an X509-SVID over HTTP', ofX509Svid],
  ] as const) {
    it(`the page on audit lines names every member, and no other: ${title}`, () => {
      assert.deepEqual([...table(title).keys()].sort(), Object.keys(members).sort());
    });
  }

  it('the page on audit lines shows what the code writes about a certificate', () => {
    const title = 'Of a PodCertificateRequest';
    const { time, publicKeySha256, ...shown } = sample(title);
    const { lines, report } = reporters(shown.replica);
    const { spiffeId, authority, notBefore, notAfter } = shown;
    const issued: Report = {
      request: anOpenRequest({
        ...{ namespace: shown.namespace, name: shown.request.name, uid: shown.request.uid },
        ...{
          podName: shown.pod.name,
          podUID: shown.pod.uid,
          nodeName: shown.node.name,
          nodeUID: shown.node.uid,
        },
        ...{ serviceAccountName: shown.serviceAccount.name, serviceAccountUID: shown.serviceAccount.uid },
      }),
      ...{ reason: 'Issued', detail: spiffeId, isOwner: true, elapsedMs: 1 },
      certificate: {
        spiffeId,
        serial: shown.serial,
        authority,
        publicKeySha256,
        notBefore,
        notAfter,
      },
    };
    report(issued, undefined);
    const [{ time: written, ...line } = {}] = lines;
    assert.deepEqual(line, { ...shown, publicKeySha256 });
    assert.equal(String(time).length, String(written).length);
    assert.deepEqual(
      Object.keys(ofRequest).filter((member) => !(member in (lines[0] ?? {}))),
      ['dnsNames', 'registration', 'hint', 'traceId'],
    );

    const { certificate, ...waiting } = issued;
    assert.ok(certificate);
    report({ ...waiting, reason: 'PoolUnusable' }, undefined);
    const always = [...table(title)].filter(([, present]) => present === 'always').map(([name]) => name);
    const common = ['level', 'time', 'audit', 'replica'];
    assert.deepEqual(Object.keys(lines[1] ?? {}).sort(), [...common, ...always].sort());
  });

  it('the page on audit lines shows what the code writes about a JWT-SVID', () => {
    const { time: _, ...shown } = sample('Of a JWT-SVID');
    const { lines, reportToken } = reporters(shown.replica);
    const { spiffeId, audiences, tokenId, keyId, notAfter } = shown;
    const issued = { spiffeId, audiences, tokenId, keyId, notAfter, token: 'x.y.z', expiresIn: 300 };
    reportToken(
      { listener: 'token-endpoint', svid: 'token' },
      contextOf(shown),
      pass({ kind: 'token', ...issued }),
    );
    const [{ time: __, ...line } = {}] = lines;
    assert.deepEqual(line, shown);
    assert.deepEqual(
      Object.keys(ofToken).filter((name) => !(name in shown)),
      ['message', 'registration', 'hint', 'traceId'],
    );
  });

  it('the page on audit lines shows what the code writes about a refusal', () => {
    const { time: _, ...shown } = sample('Of an X509-SVID over HTTP');
    const { lines, reportToken } = reporters(shown.replica);
    const [, detail = ''] = /\((.+?)\)/.exec(shown.message) ?? [];
    const refused = refuse(shown.reason as RefusalCode, detail);
    reportToken({ listener: 'token-endpoint', svid: 'x509-svid' }, contextOf(shown), refused);
    const [{ time: __, ...line } = {}] = lines;
    assert.deepEqual(line, shown);
  });

  function contextOf(shown: Line): RequestContext {
    const { address, namespace, pod, serviceAccount, credentialId } =
      shown as unknown as Required<TokenAuditRecord>;
    return {
      path: '/token',
      address,
      startedAt: 0,
      caller: { namespace, pod, serviceAccount, id: credentialId },
    };
  }

  it('the page on audit lines says which outcome of a metric is which in an audit line', async () => {
    const row = page.text.split('\n').find((line) => line.startsWith('| `outcome` | `issue`')) ?? '';
    const named = [...row.slice('| `outcome`'.length).matchAll(/`(\w+)`/g)].flatMap(([, name]) => name ?? []);
    const half = named.length / 2;
    const pairs = new Map(named.slice(0, half).map((name, index) => [name, named[half + index]]));
    for (const reason of Object.keys(outcomes) as Reason[]) {
      const { lines, metrics, report } = reporters();
      report({ request: anOpenRequest(), reason, detail: '', isOwner: true, elapsedMs: 1 }, undefined);
      const counted = new RegExp(`outcome="(\\w+)",reason="${reason}".*\\} 1$`, 'm').exec(
        await metrics.render(),
      );
      assert.equal(lines[0]?.outcome, pairs.get(counted?.[1] ?? ''), reason);
    }
  });

  it('the page on audit lines says why a watch was opened again', async () => {
    const source = await readFile(join(checkout, 'signer/kube/reflector.ts'), 'utf8');
    const [declared = ''] = /(?<=type RestartCause = ).+(?=;)/.exec(source) ?? [];
    const causes = [...declared.matchAll(/'(\w+)'/g)].flatMap(([, name]) => name ?? []);
    const row = page.text.split('\n').find((line) => line.startsWith('| `cause` of')) ?? '';
    const named = [...(row.split('|')[2] ?? '').matchAll(/`(\w+)`/g)].flatMap(([, name]) => name ?? []);
    assert.ok(causes.length > 0);
    assert.deepEqual(named.sort(), causes.sort());
  });
});
