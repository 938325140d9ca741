import { printable } from '../../spiffe/pki/text.ts';
import { printReports } from '../federation/print-report.ts';
import { mark, table } from '../output.ts';
import { fromNow, span } from '../span.ts';
import type { Terminal } from '../terminal.ts';
import type { Overview } from './overview.ts';
import type { PoolPart } from './pools.ts';
import type { Workload } from './workloads.ts';

/** So many rows of a section are printed; the rest is counted. */
const mostRows = 10;

/** Prints an overview as `kubespiffe status` shows it. */
export function printOverview(terminal: Terminal, overview: Overview): void {
  const { trustDomain, settings, at, replicas, signers, pools, bundles, peers, waiting, refused } = overview;
  const now = Date.parse(at) / 1000;
  const title = (text: string) => terminal.out(`\n${mark(terminal, 'title', text)}\n`);
  const section = (text: string, titles: string[], cells: readonly (readonly string[])[]) => {
    title(text);
    terminal.out(table([titles, ...cells.slice(0, mostRows).map((row) => row.map(printable))]));
    if (cells.length > mostRows) terminal.out(`and ${cells.length - mostRows} more\n`);
  };
  terminal.out(
    `Trust domain   ${trustDomain}, by the settings of ${printable(settings)}\n` +
      `Replicas       ${replicas.ok ? replicasText(terminal, replicas.value) : printable(replicas.why)}\n`,
  );

  section(
    'Signers',
    ['SIGNER', 'ISSUED', 'NAMED', 'TOKENS ONLY', 'WAITING', 'DENIED', 'NO NAME'],
    signers.map(({ signer, counts }) => {
      const { issued, named, tokens, waiting, denied, unnamed } = counts;
      return [signer, ...[issued, named, tokens, waiting, denied, unnamed].map(String)];
    }),
  );
  const ofPools = pools.map((pool) => poolRow(pool, now));
  section('Pools', ['POOL', 'SIGNS', 'ENDS', 'NEXT'], ofPools);
  section(
    'Bundles',
    ['CLUSTERTRUSTBUNDLE', 'ROOTS', 'FIRST ENDS', 'LAST ENDS'],
    bundles.map(({ name, roots }) => {
      const ends = roots.map(({ notAfter }) => Date.parse(notAfter) / 1000).sort((a, b) => a - b);
      const text = (end: number | undefined) => (end === undefined ? '-' : fromNow(end, now));
      return [name, String(roots.length), text(ends[0]), text(ends.at(-1))];
    }),
  );

  if (!peers.ok || peers.value.length > 0) title('Peers');
  if (!peers.ok) terminal.out(`${printable(peers.why)}\n`);
  else if (peers.value.length > 0) printReports(terminal, peers.value);

  for (const [text, some] of [
    ['Waiting', waiting],
    ['Denied, or no name', refused],
  ] as const) {
    const cells = some.map((each) => workloadRow(each, now));
    if (some.length > 0) section(text, ['POD', 'SIGNER', 'FOR', 'REASON', 'MESSAGE'], cells);
  }
  const [first] = [...waiting, ...refused];
  if (first) terminal.out(`\nNext: \`kubespiffe explain pod ${printable(first.pod)}\` says why.\n`);
}

function replicasText(terminal: Terminal, names: readonly string[]): string {
  if (names.length === 0) return mark(terminal, 'bad', 'none: no replica of the signer runs');
  const text = `${names.length}: ${printable(names.join(', '))}`;
  return names.length === 1 ? mark(terminal, 'doubtful', text) : text;
}

function poolRow({ pool, view }: PoolPart, now: number): string[] {
  if (!view.ok) return [pool, '?', '?', view.why];
  const { authorities, problems, next } = view.value;
  const signing = authorities.filter(({ signs }) => signs);
  const ends = signing.flatMap(({ notAfter }) => (notAfter === null ? [] : [Date.parse(notAfter) / 1000]));
  const [problem] = problems;
  return [
    pool,
    signing.map(({ id }) => id).join(', ') || 'no',
    ends.length > 0 ? fromNow(Math.min(...ends), now) : '-',
    problem
      ? `${problem.field}: ${problem.what}`
      : next.map(({ kind, step }) => `${kind}: ${step}`).join('; '),
  ];
}

function workloadRow({ pod, signer, requestedAt, reason, message }: Workload, now: number): string[] {
  const age = requestedAt === null ? '-' : span(now - Date.parse(requestedAt) / 1000);
  return [pod, signer, age, reason ?? '-', message ?? ''];
}
