import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import packageJson from '../package.json' with { type: 'json' };
import { messageOf } from '../spiffe/errors.ts';
import { leafExtensions } from '../spiffe/pki/leaf-extensions.ts';
import { createRandomPool } from '../spiffe/pki/random.ts';
import { svidProfile } from '../spiffe/svid-profile.ts';
import { jwtPropagationSeconds } from './authority/jwt-signing.ts';
import { createPoolView, type PoolView } from './authority/view.ts';
import type { Config } from './config/config.ts';
import { refreshGauges } from './gauges.ts';
import { podFacts } from './identity/facts.ts';
import { type Identify, identify } from './identity/identify.ts';
import { admissionPolicies, admissionPolicyBindings } from './issuance/admission-policy.ts';
import { createController } from './issuance/controller.ts';
import { createGuard } from './issuance/guard.ts';
import { createReporter } from './issuance/report.ts';
import { requestsOf } from './issuance/request.ts';
import { createSigning } from './issuance/signing.ts';
import { createStatusWriter } from './issuance/status.ts';
import { createWake } from './issuance/wake.ts';
import { createServerClock } from './kube/clock.ts';
import { type Credentials, loadCredentials } from './kube/credentials.ts';
import { createDiscovery } from './kube/discovery.ts';
import { createEventRecorder } from './kube/events.ts';
import { createInformer } from './kube/informer.ts';
import { createMembership } from './kube/membership.ts';
import { createPermissions, reviewResource } from './kube/permissions.ts';
import { allPods } from './kube/pods.ts';
import { type Call, createTransport } from './kube/transport.ts';
import { live, type Part } from './life.ts';
import { createAudit } from './observe/audit.ts';
import { createHealth, type Health } from './observe/health.ts';
import type { Logger } from './observe/log.ts';
import { createMetrics } from './observe/metrics.ts';
import type { Output } from './observe/output.ts';
import { explain, type WaitReason } from './observe/reasons.ts';
import { serveObservability } from './observe/server.ts';
import { neededPermissions } from './permissions.ts';
import { joinPublishing, publishedIn } from './publishing.ts';
import { assessReadiness, clockFault, readinessChecks } from './readiness.ts';
import { createSigningState, type SigningProblem } from './signing-state.ts';
import type { EndpointNeeds } from './token/endpoints.ts';
import { bundleName as bundleNameOf, bundlesOf } from './trust/bundle.ts';
import { configMapsNamed, optedInNamespaces } from './trust/roots-configmap.ts';

const signerName = 'kubespiffe.io/spiffe';
/** Up to this share of the way to the refresh is taken off at random, so that pods do not come back together. */
const refreshJitter = 0.1;
const assessEveryMs = 1_000;
/** So long a replica waits, in milliseconds, for the Leases and the admission policy before it begins without them. */
const knownWithinMs = 10_000;

/**
 * One replica of the signer: makes the parts, joins them, and lets them live until `stopping`. The only file that knows
 * all rooms; it decides nothing.
 *
 * @throws KubespiffeError and what the system throws when a part cannot be made or ends by itself.
 */
export async function run(
  config: Config,
  written: { readonly log: Logger; readonly output: Output },
  stopping: AbortSignal,
): Promise<void> {
  const ended = new AbortController();
  try {
    await runReplica(config, written, stopping, ended);
  } finally {
    // Whatever failed, and however early: nothing may keep the process from ending.
    ended.abort();
  }
}

/** @param ended ends all parts when it is aborted. */
async function runReplica(
  config: Config,
  { log, output }: { readonly log: Logger; readonly output: Output },
  stopping: AbortSignal,
  ended: AbortController,
): Promise<void> {
  const now = Date.now;
  const monotonic = () => performance.now();
  const jitter = Math.random;
  const time = { now, monotonic, jitter };

  const metrics = createMetrics({ version: packageJson.version });
  output.onDropped((stream) => metrics.outputLinesDropped.inc({ stream }));
  const health = createHealth(readinessChecks);
  health.onChange((check) => log.info({ check: check.name, ok: check.ok }, check.reason));
  // Probes are answered from the very start, before there is anything to measure.
  const server = await serveObservability({
    address: config.metricsAddress,
    metrics,
    health,
    signal: ended.signal,
  });
  log.info({ url: server.url, replica: config.replica, trustDomain: config.trustDomain }, 'signer starts');

  const credentials = await credentialsFor(config);
  const onCall = (call: Call) => {
    const { verb, resource, code, seconds } = call;
    metrics.apiRequests.inc({ verb, resource, code });
    metrics.apiRequestSeconds.observe({ verb, resource }, seconds);
    if (isForbidden(call)) permissions.lookAgain();
  };
  const transport = createTransport({ credentials, ...time, onCall });
  // TokenReviews may be many and slow. On a connection of their own they hold up no answer, no Lease and no read of
  // the pool. Where there is no token endpoint it is never opened.
  const tokenTransport = createTransport({ credentials, ...time, onCall });
  const clock = createServerClock(time);
  transport.onDate(clock.observe);
  const discovery = createDiscovery({ transport, log, ...time });
  const hasTokenEndpoint = config.endpoints?.token !== undefined;

  const signer = config.signers.spiffe;
  const bundleName = bundleNameOf(signerName, signer.bundleSuffix);
  const informerNeeds = {
    transport,
    discovery,
    onWatchRestart: (resource: string, cause: string) => metrics.watchRestarts.inc({ resource, cause }),
    log,
    ...time,
  };
  const requests = createInformer(informerNeeds, requestsOf(signerName));
  const pods = createInformer(informerNeeds, allPods);
  const bundles = createInformer(informerNeeds, bundlesOf(signerName));
  const policies = createInformer(informerNeeds, admissionPolicies);
  const policyBindings = createInformer(informerNeeds, admissionPolicyBindings);
  const roots =
    signer.rootsConfigMap === undefined
      ? undefined
      : {
          namespaces: createInformer(informerNeeds, optedInNamespaces),
          configMaps: createInformer(informerNeeds, configMapsNamed(signer.rootsConfigMap)),
        };
  /** What must be known before requests are answered. */
  const needed = [requests, pods, bundles];
  const informers = [
    ...needed,
    policies,
    policyBindings,
    ...(roots ? [roots.namespaces, roots.configMaps] : []),
  ];
  const synced = Promise.all(needed.map((informer) => informer.synced));
  const permissions = createPermissions({
    transport,
    needed: () => neededPermissions(config, { ...signer, signerName }, bundles.isMissing()),
    log,
    jitter,
  });
  const watched = { config, signer, bundles, roots, bundleName };
  const membership = createMembership({
    ...informerNeeds,
    namespace: config.namespace,
    self: config.replica,
    now,
  });
  const pool = createPoolView({
    ...informerNeeds,
    ...signer.pool,
    trustDomain: config.trustDomain,
    published: publishedIn(watched),
    now,
  });

  const events = createEventRecorder({
    transport,
    controller: 'kubespiffe.io/signer',
    instance: config.replica,
    log,
    ...time,
  });
  const { publisher, configMaps, visibility } = joinPublishing({
    ...watched,
    requests,
    pool,
    membership,
    transport,
    events,
    signerName,
    hasTokenEndpoint,
    log,
    ...time,
  });

  const guard = createGuard({
    requestAdmission: config.requestAdmission,
    policies: policies.store,
    bindings: policyBindings.store,
    serverNow() {
      const skewMs = clock.skewMs();
      return skewMs === undefined ? undefined : now() - skewMs;
    },
    monotonic,
    log,
  });
  const audit = createAudit({ replica: config.replica, destination: output.audit });
  const profile = {
    ...svidProfile,
    extensionsFor: leafExtensions({ podIdentity: signer.leafPodIdentity, issuer: signer.leafIssuer }),
  };
  const identifyPod: Identify = (pod) => identify(pod, config);
  const signing = createSigning({
    pool,
    visibility,
    clockFault: () => clockFault(clock),
    policy: {
      maxLifetimeSeconds: signer.maxLifetimeSeconds,
      refreshFraction: signer.refreshFraction,
      refreshJitter,
    },
    profile,
    randomBytes: createRandomPool(randomBytes),
    ...time,
  });
  const controller = createController({
    requests: requests.store,
    pods: pods.store,
    transport,
    servedVersions: () => requests.versions() ?? [],
    rediscover: discovery.rediscover,
    membership,
    facts: podFacts(pods.store),
    guard,
    signing,
    status: createStatusWriter(transport, config.replica),
    report: createReporter({ log, metrics, events, audit, signerName }),
    metrics,
    identify: identifyPod,
    takeoverDelayMs: config.takeoverDelayMs,
    concurrency: config.concurrency,
    onError: (error, request) => log.error({ request, error: messageOf(error) }, 'a request failed'),
    ...time,
  });

  const showSigningState = createSigningState({
    x509: () => {
      const problem = (reason: WaitReason, detail: string) => ({ reason, message: explain(reason, detail) });
      const usable = signing.mayUse();
      if (!usable.ok) return problem(usable.reason, usable.detail);
      const unguarded = guard.obstacle();
      if (unguarded !== undefined) return problem('RequestsUnguarded', unguarded);
      const forbidden = permissions.problem();
      return forbidden === undefined ? undefined : problem('SignerForbidden', forbidden);
    },
    jwt: jwtProblem(config, pool, now, () => clockFault(clock)),
    metrics,
    events,
    pods: pods.store,
    namespace: config.namespace,
    replica: config.replica,
    monotonic,
  });
  const wake = createWake({
    canSign: () => signing.mayUse().ok && guard.obstacle() === undefined,
    isPermitted: () => permissions.problem() === undefined,
    wake: controller.wake,
  });
  const assess = () => {
    assessReadiness({
      health,
      requests,
      hasTokenEndpoint,
      permissions,
      guard,
      informers: needed,
      pool,
      visibility: visibility(),
      clock,
    });
    showSigningState();
    wake();
  };
  pool.onChange(assess);
  publisher.onChange(assess);
  permissions.onChange(assess);
  guard.onChange(assess);
  void synced.then(assess);
  const assessing = setInterval(assess, assessEveryMs).unref();
  metrics.beforeRender(() =>
    refreshGauges(metrics, { controller, clock, guard, health, permissions, pool, configMaps, monotonic }),
  );

  const listeners = await listenersFor(config, health, {
    trustDomain: config.trustDomain,
    transport: tokenTransport,
    authorization: credentials.authorization,
    pods: pods.store,
    pool,
    authority: signing.mayUse,
    profile,
    identify: identifyPod,
    clockFault: () => clockFault(clock),
    events,
    audit,
    metrics,
    log,
    randomBytes,
    ...time,
  });

  if (stopping.aborted) {
    // Told while it waited for credentials, which nobody below would hear of.
    log.info({ reason: String(stopping.reason) }, 'signer ends before it has begun');
    return;
  }
  try {
    await live(
      {
        parts: [
          discovery,
          permissions,
          pool,
          publisher,
          ...(configMaps ? [configMaps] : []),
          events,
          ...informers,
        ],
        // A replica that does not know the others would answer for all of them, one without the pods would read each
        // of them live, and one without the pool would tell every pod that waits of a fault that there is none. Without
        // Leases or policy it begins all the same after a while: two answers to one request do no harm, and the guard
        // signs nothing without the policy.
        knowing: Promise.all([
          synced,
          pool.looked,
          Promise.race([
            Promise.all([membership.synced, guard.known]),
            delay(knownWithinMs, undefined, { ref: false }),
          ]),
        ]),
        controller,
        membership,
        listeners,
        onDraining() {
          clearInterval(assessing);
          health.set('running', false, 'draining');
        },
        log,
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

/** Why no JWT-SVIDs can be signed now; undefined where there is no token endpoint. */
function jwtProblem(
  { endpoints }: Config,
  pool: Pick<PoolView, 'jwtSignable'>,
  now: () => number,
  clockProblem: () => string | undefined,
): (() => SigningProblem | undefined) | undefined {
  const token = endpoints?.token;
  if (!token) return undefined;
  const propagationSeconds = jwtPropagationSeconds({
    refreshHintSeconds: token.refreshHintSeconds,
    jwksMaxAgeSeconds: token.refreshHintSeconds,
    delaySeconds: token.propagationDelaySeconds,
  });
  return () => {
    const skew = clockProblem();
    if (skew !== undefined) return { reason: 'ClockSkew', message: explain('ClockSkew', skew) };
    const signable = pool.jwtSignable(token.algorithm, Math.floor(now() / 1000), propagationSeconds);
    return signable.ok ? undefined : signable.problem;
  };
}

function credentialsFor({ kubeconfig, context }: Config): Promise<Credentials> {
  return loadCredentials({
    ...(kubeconfig !== undefined && { kubeconfig }),
    ...(context !== undefined && { context }),
    env: process.env,
  });
}

/** What listens to others, as far as it is configured. Each has its line in readiness from now on. */
async function listenersFor(
  { endpoints: settings }: Config,
  health: Health,
  needs: Omit<EndpointNeeds, 'settings' | 'onState'>,
): Promise<readonly Part[]> {
  if (!settings) return [];
  // Loaded only where it is used: the HTTP framework costs some 30 MB of resident memory.
  const { createEndpoints } = await import('./token/endpoints.ts');
  const listeners = createEndpoints({ ...needs, settings, onState: health.set });
  for (const { name } of listeners) health.set(name, false, 'not checked yet');
  return listeners;
}
