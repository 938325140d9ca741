import { printable } from '../../spiffe/pki/text.ts';
import { fromNow, mark, table } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { nameOfKey } from './bundle-keys.ts';
import { type FederationReport, isReady } from './report.ts';

/** One row for each FederatedTrustDomain. */
export function printReports(terminal: Terminal, reports: readonly FederationReport[]): void {
  const titles = ['NAME', 'TRUST DOMAIN', 'READY', 'REASON', 'SEQUENCE', 'ROOTS', 'JWT KEYS', 'LAST SUCCESS'];
  const rows = reports.map((report) => {
    const { name, trustDomain, bundle, conditions, lastSuccess } = report;
    const ready = conditions.find(({ type }) => type === 'Ready');
    return [
      ...[name, trustDomain || '(not valid)', ready?.status ?? 'Unknown', ready?.reason ?? '(not looked at)'],
      ...[String(bundle?.sequence ?? '-'), countOf(report, 'x509-svid'), countOf(report, 'jwt-svid')],
      ago(terminal, lastSuccess),
    ].map(printable);
  });
  terminal.out(table([titles, ...rows]));
}

const countOf = ({ bundle }: FederationReport, use: string) =>
  bundle ? String(bundle.keys.filter((key) => key.use === use).length) : '-';

function ago(terminal: Terminal, time: string | null): string {
  const seconds = time === null ? Number.NaN : Date.parse(time) / 1000;
  const now = Math.floor(terminal.now() / 1000);
  if (Number.isNaN(seconds)) return '(none)';
  return seconds === now ? 'now' : fromNow(seconds, now);
}

/** Everything about one of them. */
export function printReport(terminal: Terminal, report: FederationReport): void {
  const { bundle, conditions, refreshSeconds } = report;
  const facts: [name: string, value: string | null][] = [
    ['Name', report.name],
    ['Trust domain', report.trustDomain || '(not valid)'],
    ['Source', report.source],
    ['Endpoint ID', report.endpointSPIFFEID],
    ['Paused', report.paused ? 'yes' : 'no'],
    ['Refresh', `from ${refreshSeconds.min}s to ${refreshSeconds.max}s`],
    ['Last success', ago(terminal, report.lastSuccess)],
    ['Last attempt', ago(terminal, report.lastAttempt)],
    ['Next attempt', ago(terminal, report.nextAttempt)],
    ['Published as', report.clusterTrustBundle ?? '(not published)'],
    ['Sequence', String(bundle?.sequence ?? '(none)')],
  ];
  for (const [name, value] of facts) {
    if (value !== null) terminal.out(`${`${name}:`.padEnd(16)}${printable(value)}\n`);
  }
  if (conditions.length === 0) {
    terminal.out(
      '\nNo signer has looked at it yet. Is the setting federation on? docs/guides/federation.md says how to turn it on.\n',
    );
  } else {
    const rows = conditions.map(({ type, status, reason, message }) =>
      [type, status, reason, message].map(printable),
    );
    const state = isReady(report) ? mark(terminal, 'good', 'Ready') : mark(terminal, 'bad', 'Not ready');
    terminal.out(`\n${state}\n`);
    terminal.out(table([['CONDITION', 'STATUS', 'REASON', 'MESSAGE'], ...rows]));
  }
  if (!bundle || bundle.keys.length === 0) return;
  const rows = bundle.keys.map((key) => [
    printable(nameOfKey(key)),
    key.notAfter === undefined ? '-' : ago(terminal, key.notAfter),
  ]);
  terminal.out(`\n${table([['KEY', 'ENDS'], ...rows])}`);
}
