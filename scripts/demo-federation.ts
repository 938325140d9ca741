// Two clusters with a trust domain each trust each other. Their pods call each other over mTLS and accept JWT-SVIDs of each other.
// One cluster replaces its CA while they do, and no call fails. Then the other cluster ends the trust, and its pods refuse calls.
import { join } from 'node:path';
import { runCommand } from '../test/cluster/command.ts';
import { defaultVersion } from '../test/cluster/versions.ts';
import { clusterChoices } from '../test/e2e/clusters.ts';
import { caIds, type Pair, type Side, startPair, trustEachOther } from '../test/e2e/federation/pair.ts';
import {
  bundlesIn,
  idOf,
  moreAnswers,
  type Report,
  socketOf,
  startPeer,
} from '../test/e2e/federation/peer.ts';
import { activateNext, publishNext, retireFirst, rootArrives } from '../test/e2e/federation/rotation.ts';
import { openJudges } from '../test/judges/judges.ts';
import { connectJwtSource } from '../workload/workload-api.ts';
import { card, show, step, withHeartbeat } from './demo/output.ts';
import { describeVerdict } from './demo/token.ts';

const judges = await openJudges();
const [choice] = clusterChoices(defaultVersion);
if (!choice) throw new Error(`no cluster of version ${defaultVersion}`);
const pair = await startPair(choice, { report: step });
process.on('SIGINT', () => void pair.stop().then(() => process.exit(130)));
const [east, west] = pair.sides;
try {
  await showTrust(pair);
  await showCalls(pair);
  await showToken();
  await showRotation();
  await showEnd();
} finally {
  await pair.stop();
}
step('both clusters are gone again');

function kubespiffe({ installation: { controlPlane } }: Side, ...args: string[]): Promise<string> {
  const command = join(import.meta.dirname, '../bin/kubespiffe');
  return runCommand('env', `KUBECONFIG=${controlPlane.kubeconfig}`, command, ...args);
}

async function showTrust({ directions }: Pair): Promise<void> {
  step('each cluster gets a FederatedTrustDomain for the other one, and fetches its bundle over https_web');
  await trustEachOther(pair);
  step('what each cluster holds of the other one: `kubespiffe federation show`');
  for (const [own, other] of directions) show(await kubespiffe(own, 'federation', 'show', other.name));
}

async function showCalls({ directions, sides }: Pair): Promise<void> {
  step(
    'starting a pod in each cluster. Each serves and calls the other one, with a new connection each time',
  );
  await Promise.all(directions.map(([own, other]) => startPeer(own, other)));
  const reports = await withHeartbeat('waiting for calls', () =>
    Promise.all(sides.map((side) => moreAnswers(side))),
  );
  showReports(reports);
}

function showReports(reports: readonly Report[]): void {
  for (const [index, { files, api }] of reports.entries()) {
    const name = pair.sides[index]?.name;
    const facts = [files, api].map(
      ({ answered, failed, peerIssuer }, form) =>
        [
          form === 0 ? 'by files' : 'by API',
          `${answered} answered, ${failed.length} failed; the other side is certified by "${peerIssuer}"`,
        ] as const,
    );
    show(card(`pod shop/peer of ${name}`, facts));
  }
}

async function showToken(): Promise<void> {
  step(
    'the pod of east gets a JWT-SVID for the pod of west, which has the bundle of east from its token endpoint',
  );
  const audience = idOf(west.trustDomain);
  const { token } = await connectJwtSource(await socketOf(east)).get(audience);
  const content = (await bundlesIn(west))[east.trustDomain] ?? '';
  show(await describeVerdict(judges, token, audience, { trustDomain: east.trustDomain, content }));
}

async function showRotation(): Promise<void> {
  const { first, next } = caIds(east.name);
  step('east makes its next CA and publishes the root beside the one in use');
  await publishNext(east);
  await withHeartbeat('waiting until the pods of both clusters have the new root', () =>
    rootArrives(east, west, next),
  );
  show(await kubespiffe(west, 'federation', 'show', east.name));
  step(
    'the new CA signs. This demo does not wait for the propagation delay, since all pods have the root already',
  );
  await activateNext(east);
  step('restarting kubelet of east, which requests every certificate again');
  await east.installation.node.restartKubelet();
  const isRenewed = ({ files, api }: Report) =>
    [files, api].every(({ peerIssuer }) => peerIssuer === `${east.trustDomain} ${next}`);
  await withHeartbeat('waiting for the new certificate', () => moreAnswers(west, { isRight: isRenewed }));
  step('the root of the old CA leaves both clusters');
  await retireFirst(east);
  await withHeartbeat('waiting until no pod has it', () =>
    rootArrives(east, west, first, { isThere: false }),
  );
  const reports = await Promise.all(pair.sides.map((side) => moreAnswers(side, { answers: 20 })));
  showReports(reports);
  const failed = reports.flatMap(({ files, api }) => [...files.failed, ...api.failed]);
  if (failed.length > 0) throw new Error(failed.join('\n'));
}

async function showEnd(): Promise<void> {
  step('west ends the trust: kubectl delete fedtd east');
  await west.installation.controlPlane.kubectl(['delete', 'fedtd', east.name]);
  const { files, api } = await withHeartbeat('waiting until its pod refuses the one of east', () =>
    moreAnswers(west, {
      ...{ answers: 0, timeoutMs: 100_000 },
      isRight: (report) => report.files.failed.length > 0 && report.api.failed.length > 0,
    }),
  );
  show(
    card('pod shop/peer of west', [
      ['by files', files.failed[0] ?? ''],
      ['by API', api.failed[0] ?? ''],
    ]),
  );
}
