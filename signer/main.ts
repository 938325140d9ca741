import { randomBytes } from 'node:crypto';
import packageJson from '../package.json' with { type: 'json' };
import { createRandomPool } from '../spiffe/pki/random.ts';
import type { Config } from './config/config.ts';
import { refreshGauges } from './gauges.ts';
import { admissionPolicies, admissionPolicyBindings } from './issuance/admission-policy.ts';
import { createGuard } from './issuance/guard.ts';
import { statusResource } from './issuance/status.ts';
import { createServerClock } from './kube/clock.ts';
import { loadCredentials } from './kube/credentials.ts';
import { createDiscovery } from './kube/discovery.ts';
import { createEventRecorder } from './kube/events.ts';
import { createInformer } from './kube/informer.ts';
import { createMembership } from './kube/membership.ts';
import { createPermissions, reviewResource } from './kube/permissions.ts';
import { allPods, podReaderOf } from './kube/pods.ts';
import { pauseWith, realTime } from './kube/time.ts';
import { type Call, createTransport } from './kube/transport.ts';
import { createWriteLimit } from './kube/write-limit.ts';
import { live } from './life.ts';
import { createAudit } from './observe/audit.ts';
import { createHealth } from './observe/health.ts';
import type { Logger } from './observe/log.ts';
import { createMetrics } from './observe/metrics.ts';
import type { Output } from './observe/output.ts';
import { serveObservability } from './observe/server.ts';
import { federationOf, listenersFor, remoteKeysOf, tracesOf } from './optional-parts.ts';
import { neededPermissions } from './permissions.ts';
import { assessReadiness, checksOf } from './readiness.ts';
import { createSigner } from './signers/create-signer.ts';
import { type SignerProfile, settingsOf } from './signers/profile.ts';
import { allProfiles } from './signers/profiles.ts';
import { createRotations } from './signers/rotations.ts';
import type { Shared } from './signers/shared.ts';
import { createFederationView, withoutFederation } from './trust/siblings.ts';

const assessEveryMs = 1_000;
/** So long a replica waits, in milliseconds, for the Leases and the admission policy before it begins without them. */
const knownWithinMs = 10_000;

/**
 * One replica: makes the shared parts and a signer for each profile, joins them, and lets them live until `stopping`.
 * It decides nothing.
 *
 * @throws KubespiffeError and what the system throws when a part cannot be made or ends by itself.
 */
export async function run(
  config: Config,
  written: { readonly log: Logger; readonly output: Output },
  stopping: AbortSignal,
  profiles: readonly SignerProfile[] = allProfiles,
): Promise<void> {
  const ended = new AbortController();
  try {
    const enabled = profiles.filter((profile) => settingsOf(config, profile).enabled);
    await runReplica(config, written, stopping, ended, enabled);
  } finally {
    // After any failure, however early, nothing may keep the process from ending.
    ended.abort();
  }
}

/** @param ended ends all parts when it is aborted. */
async function runReplica(
  config: Config,
  { log, output }: { readonly log: Logger; readonly output: Output },
  stopping: AbortSignal,
  ended: AbortController,
  profiles: readonly SignerProfile[],
): Promise<void> {
  const time = realTime;
  const pause = pauseWith(time.timer);

  const metrics = createMetrics({ version: packageJson.version });
  output.onDropped((stream) => metrics.outputLinesDropped.inc({ stream }));
  const health = createHealth(checksOf(profiles));
  health.onChange((check) => log.info({ check: check.name, ok: check.ok }, check.reason));
  // Probes are answered from the very start, before there is anything to measure.
  const server = await serveObservability({
    address: config.metricsAddress,
    metrics,
    health,
    signal: ended.signal,
  });
  log.info({ url: server.url, replica: config.replica, trustDomain: config.trustDomain }, 'signer starts');

  const endsEarly = () => log.info({ reason: String(stopping.reason) }, 'signer ends before it has started');
  const { kubeconfig, context } = config;
  const sources = { kubeconfig, context, env: process.env, time, signal: stopping };
  const credentials = await loadCredentials(sources).catch((error) => {
    // A credential plugin is ended with the signer.
    if (!stopping.aborted) throw error;
  });
  if (!credentials) return endsEarly();
  const writeLimit = createWriteLimit({ most: config.concurrency, time });
  const onCall = (call: Call) => {
    const { verb, resource, code, seconds } = call;
    if (resource === statusResource && code === '200') writeLimit.observe(seconds * 1000);
    metrics.apiRequests.inc({ verb, resource, code });
    metrics.apiRequestSeconds.observe({ verb, resource }, seconds);
    if (isForbidden(call)) permissions.lookAgain();
  };
  const transport = createTransport({ credentials, time, onCall });
  // TokenReviews may be many and slow. On a connection of their own they hold up no answer, no Lease and no read of
  // the pool. Where there is no token endpoint it is never opened.
  const tokenTransport = createTransport({ credentials, time, onCall });
  const clock = createServerClock(time);
  transport.onDate(clock.observe);
  const discovery = createDiscovery({ transport, log, time });
  const onWatchRestart = (resource: string, cause: string) => metrics.watchRestarts.inc({ resource, cause });
  const informing = { transport, discovery, onWatchRestart, log, time };
  const readers = profiles.filter(({ readsSources }) => readsSources).map(({ signerName }) => signerName);
  const podReader = podReaderOf(config.podAnnotations, readers);
  const pods = createInformer(informing, allPods(podReader));
  const policies = createInformer(informing, admissionPolicies);
  const policyBindings = createInformer(informing, admissionPolicyBindings);
  const permissions = createPermissions({
    transport,
    needed: () =>
      neededPermissions(
        config,
        signers,
        signers.some((signer) => signer.bundles.isMissing()),
      ),
    log,
    time,
  });
  const guard = createGuard({
    requestAdmission: config.requestAdmission,
    policies: policies.store,
    bindings: policyBindings.store,
    serverNow: clock.serverMs,
    time,
    log,
  });
  const federated = config.federation ? createFederationView() : undefined;
  const keys = remoteKeysOf(config, process.env, { metrics, log, time });
  const traces = await tracesOf(config, { metrics, log, time });
  const shared: Shared = {
    ...informing,
    config,
    keysByRef: keys.keysByRef,
    pods,
    podReader,
    membership: createMembership({
      ...informing,
      ...{ namespace: config.namespace, self: config.replica },
      podUid: () => pods.store.get(`${config.namespace}/${config.replica}`)?.uid,
    }),
    clock,
    guard,
    permissions,
    federated: federated ?? withoutFederation,
    pools: new Map(),
    rootsConfigMaps: new Map(),
    informers: new Map(),
    events: createEventRecorder({
      ...informing,
      controller: 'kubespiffe.io/signer',
      instance: config.replica,
    }),
    audit: createAudit({ replica: config.replica, destination: output.audit, time }),
    metrics,
    writeLimit,
    startSpan: traces?.startSpan,
    randomBytes: createRandomPool(randomBytes),
  };
  const signers = profiles.map((profile) => createSigner(profile, shared));
  const rotations = createRotations(shared, signers);
  const federation = await federationOf(shared, federated, signers);

  /** What must be known before requests are answered. */
  const needed = [pods, ...signers.flatMap((signer) => signer.needed)];
  const synced = Promise.all(needed.map((informer) => informer.synced));
  const hasTokenEndpoint = config.endpoints?.token !== undefined;
  const assess = () => {
    const { defaultIdentity } = config;
    assessReadiness({
      ...{ health, hasTokenEndpoint, defaultIdentity },
      ...{ permissions, guard, informers: needed, signers, clock },
    });
    for (const each of [...signers, rotations]) each.look();
  };
  for (const source of [...signers, permissions, guard]) source.onChange(assess);
  void synced.then(assess);
  const assessing = {
    async run(signal: AbortSignal) {
      while (!signal.aborted) {
        await pause(assessEveryMs, signal);
        if (!signal.aborted) assess();
      }
    },
  };
  metrics.beforeRender(() => refreshGauges(shared, health, [...signers, rotations]));

  const listeners = await listenersFor(shared, signers, health, {
    ...{ credentials, transport: tokenTransport, federation },
  });
  if (stopping.aborted) return endsEarly();
  try {
    await live(
      {
        parts: [
          assessing,
          discovery,
          permissions,
          keys,
          shared.events,
          ...[pods, policies, policyBindings],
          ...new Set(signers.flatMap((signer) => signer.parts)),
          rotations,
          ...(federation?.parts ?? []),
          ...(traces ? [traces] : []),
        ],
        // A replica that does not know the others would answer for all of them, one without the pods would read each
        // of them live, and one without the pool would tell every waiting pod that the pool is missing. Without Leases
        // or policy it begins all the same after a while: two answers to one request do no harm, and the guard signs
        // nothing without the policy.
        knowing: Promise.all([
          synced,
          ...signers.map(({ pool }) => pool.looked),
          Promise.race([
            Promise.all([shared.membership.synced, guard.known]),
            pause(knownWithinMs, ended.signal),
          ]),
        ]),
        controllers: signers.map(({ controller }) => controller),
        membership: shared.membership,
        listeners,
        onDraining() {
          health.set('running', false, 'draining');
        },
        ...{ log, time },
      },
      stopping,
      ended,
    );
  } finally {
    await Promise.all([transport.close(), tokenTransport.close()]);
    log.info('signer ends');
  }
}

/** The right to sign is checked by the validation of the status, so that lacking it is a 422. */
function isForbidden({ code, resource }: Call): boolean {
  return (code === '403' || code === '422') && resource !== reviewResource;
}
