import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { podLog, waitForPod } from '../../cluster/pods.ts';
import { usualTimeoutMs, waitFor } from '../../cluster/process.ts';
import { judgesBinary } from '../../judges/build.ts';
import type { Installation } from '../installation.ts';

export const namespace = 'shop';
/** The pods of pods.yaml that call each other: each calls the next one. */
export const ring = ['node-1', 'node-2', 'go'] as const;
const peerProgram = join(import.meta.dirname, '../federation/peer.mjs');

/** What a pod has seen of the next one since its first answer, by the port that it calls. */
export type Report = Readonly<
  Record<'files' | 'api', { answered: number; failed: readonly string[]; peerIssuer: string }>
>;

/** Applies pods.yaml, and waits until its pods run. @param restMs between two calls. */
export async function startRing({ controlPlane }: Installation, restMs: number): Promise<void> {
  const manifest = await readFile(join(import.meta.dirname, 'pods.yaml'), 'utf8');
  const input = manifest
    .replaceAll('JUDGES', await judgesBinary())
    .replaceAll('CALL_REST_MS', String(restMs));
  await controlPlane.kubectl(['apply', '-f', '-'], { input });
  await controlPlane.kubectl([
    ...['create', 'configmap', 'programs', '--namespace', namespace, `--from-file=${peerProgram}`],
  ]);
  for (const name of ring) await waitForPod(controlPlane, { namespace, name }, 120_000);
  await controlPlane.kubectl([
    ...['rollout', 'status', 'deployment/web', '--namespace', namespace, '--timeout=120s'],
  ]);
}

async function readReport({ controlPlane }: Installation, name: string): Promise<Report | undefined> {
  const log = await podLog(controlPlane, { namespace, name }, { container: 'main', tailLines: 5 });
  const lines = log.split('\n');
  const line = lines.findLast((each) => each.startsWith('{"') && each.endsWith('}}'));
  return line === undefined ? undefined : (JSON.parse(line) as Report);
}

/**
 * Waits until every pod has had so many more answers on each port, and its report is as wanted.
 *
 * @throws Error with what the pods logged, where that does not come.
 */
export async function moreAnswers(
  installation: Installation,
  {
    answers = 10,
    isRight = () => true,
    timeoutMs = usualTimeoutMs,
  }: { answers?: number; isRight?: (report: Report) => boolean; timeoutMs?: number } = {},
): Promise<readonly Report[]> {
  return Promise.all(
    ring.map(async (name) => {
      let first: Report | undefined;
      let last: Report | undefined;
      const enough = async () => {
        const report = await readReport(installation, name);
        first ??= report;
        last = report ?? last;
        if (!report || !first || !isRight(report)) return false;
        const before = first;
        const isMore = (port: keyof Report) => report[port].answered >= before[port].answered + answers;
        return isMore('files') && isMore('api') && report;
      };
      try {
        return await waitFor(`more answers to ${name}`, enough, { timeoutMs, everyMs: 500 });
      } catch (error) {
        const said = (await Promise.all(ring.map((each) => whatItSaid(installation, each)))).join('\n');
        throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}\n${said}`);
      }
    }),
  );
}

/** Everything that a pod has logged except its reports, and the last one of these. */
async function whatItSaid({ controlPlane }: Installation, name: string): Promise<string> {
  const where = ['--namespace', namespace, '--all-containers', '--prefix', '--tail', '-1', name];
  const log = await controlPlane.kubectl(['logs', ...where]).catch(String);
  const lines = log.split('\n');
  const isReport = (line: string) => line.endsWith('}}');
  return [...lines.filter((line) => !isReport(line)), lines.findLast(isReport) ?? `${name}: no report`].join(
    '\n',
  );
}

/** All failed calls of some reports. */
export const failures = (reports: readonly Report[]): string[] =>
  reports.flatMap(({ files, api }) => [...files.failed, ...api.failed]);

/** Waits until the roots that every pod of the ring sees are as wanted. @returns the milliseconds until each of them had them. */
export async function rootsOnceIn(
  { node }: Installation,
  isRight: (roots: string) => boolean,
): Promise<Readonly<Record<string, number>>> {
  const since = performance.now();
  const times = ring.map(async (name) => {
    await waitFor(`the roots in ${name}`, async () =>
      isRight(await node.readVolumeFile({ namespace, name }, 'spiffe', 'roots.pem')),
    );
    return [name, Math.round(performance.now() - since)] as const;
  });
  return Object.fromEntries(await Promise.all(times));
}
