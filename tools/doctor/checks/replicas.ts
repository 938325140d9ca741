import { createServerClock } from '../../../signer/kube/clock.ts';
import { realTime } from '../../../signer/kube/time.ts';
import { isOfSigner, type LeaseView, liveReplicas, writtenAtMs } from '../../cluster/replicas.ts';
import { counted } from '../../output.ts';
import { type Findings, ok, orElse, problem, warning } from '../check.ts';
import type { Facts } from '../facts.ts';
import type { PodView } from '../views.ts';
import { nameOfPod } from './pods.ts';

const nodeLeases = 'kube-node-lease';
/** Certificates are backdated by two minutes. A node whose clock is slower than that refuses a new one. */
const nodeSkewMs = 90_000;

/** A replica renews its Lease every three seconds, and removes it when it ends. */
export async function replicas(facts: Facts): Promise<Findings> {
  const { config } = await facts.settings();
  const live = liveReplicas(await facts.leases(), config.namespace, facts.now());
  const lookedAt = `Leases of the signer in the namespace ${config.namespace}`;
  const names = live.join(', ');
  if (live.length === 0) {
    const remedy = `see \`kubectl --namespace ${config.namespace} get pods\`, and the logs of the signer`;
    const why = waitingIn(await facts.pods().catch(() => []), config.namespace);
    return problem(lookedAt, `no replica of the signer runs${why && `: ${why}`}`, remedy);
  }
  if (live.length === 1) {
    const remedy = 'run at least two replicas, so that one can fail or be updated';
    return warning(lookedAt, `only one replica runs: ${names}`, remedy);
  }
  return ok(lookedAt, `${live.length} replicas run: ${names}`);
}

/** Why a container of the signer does not start, such as an image that cannot be pulled; empty where none waits. */
function waitingIn(pods: readonly PodView[], namespace: string): string {
  for (const pod of pods) {
    const isOfSigner = pod.metadata.labels?.['app.kubernetes.io/component'] === 'signer';
    if (pod.metadata.namespace !== namespace || !isOfSigner) continue;
    for (const { name, state } of pod.status?.containerStatuses ?? []) {
      const { reason, message } = state?.waiting ?? {};
      if (reason) return `${nameOfPod(pod)}, container ${name}: ${reason}${message ? `: ${message}` : ''}`;
    }
  }
  return '';
}

/** A replica dates its Lease by its own clock; the API server dates the write by its own. */
export async function clocks(facts: Facts): Promise<Findings> {
  const own = (await facts.leases()).filter(isOfSigner);
  const nodes = (await facts.leases()).filter(({ metadata }) => metadata.namespace === nodeLeases);
  const replicas = own.flatMap((lease): Findings => {
    const found = skewProblem(lease);
    const remedy = "fix time synchronisation (NTP) on the replica's node: the replica signs nothing";
    return found === undefined ? [] : problem(`replica ${lease.spec?.holderIdentity}`, found, remedy);
  });
  const kubelets = nodes.flatMap((lease): Findings => {
    const skewMs = skewOf(lease);
    if (skewMs === undefined || Math.abs(skewMs) <= nodeSkewMs) return [];
    const found = `its clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'fast' : 'slow'}`;
    const remedy =
      'fix time synchronisation (NTP) on the node: its pods refuse new certificates, or keep old ones too long';
    return warning(`Node ${lease.metadata.name}`, found, remedy);
  });
  const good = ok(
    `Leases of ${counted(own.length, 'replica')} and ${counted(nodes.length, 'node')}`,
    'dated as the API server dates them',
  );
  return orElse([...replicas, ...kubelets], good);
}

/** Milliseconds by which the writer's clock is ahead, to within a second. */
function skewOf(lease: LeaseView): number | undefined {
  const writtenMs = writtenAtMs(lease);
  const renewedMs = Date.parse(lease.spec?.renewTime ?? '');
  return writtenMs === 0 || Number.isNaN(renewedMs) ? undefined : renewedMs - writtenMs - 500;
}

/** As the replica itself judges its clock. */
function skewProblem(lease: LeaseView): string | undefined {
  const renewedMs = Date.parse(lease.spec?.renewTime ?? '');
  if (skewOf(lease) === undefined) return undefined;
  const clock = createServerClock({ ...realTime, now: () => renewedMs, monotonic: () => 0 });
  clock.observe(writtenAtMs(lease), 0);
  return clock.problem();
}
