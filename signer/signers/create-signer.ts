import { messageOf } from '../../spiffe/errors.ts';
import type { Pool } from '../authority/pool.ts';
import { createPoolView, type PoolView } from '../authority/view.ts';
import { factsOf, joinFacts, podFacts } from '../identity/facts.ts';
import { onceRead } from '../identity/once-read.ts';
import { createController } from '../issuance/controller.ts';
import { createReporter } from '../issuance/report.ts';
import { requestsOf } from '../issuance/request.ts';
import { createSigning } from '../issuance/signing.ts';
import { createStatusWriter } from '../issuance/status.ts';
import { refreshJitter } from '../issuance/validity.ts';
import { createWake } from '../issuance/wake.ts';
import { createInformer, type Informer, type InformerSpec } from '../kube/informer.ts';
import { childOf } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { explain } from '../observe/reasons.ts';
import { createPublication } from '../trust/publication.ts';
import { type MakePart, type Part, type SignerProfile, settingsOf } from './profile.ts';
import { createPublishing, followBundles } from './publishing.ts';
import type { Shared } from './shared.ts';
import { createSigningState, jwtProblem, type SigningProblem } from './signing-state.ts';

/** One signer of a replica. */
export type Signer = ReturnType<typeof createSigner>;

/** Everything of one profile: pool, publisher, signing and controller, from the shared parts. */
export function createSigner(profile: SignerProfile, common: Shared) {
  const { signerName } = profile;
  const shared = { ...common, log: childOf(common.log, { signer: signerName }) };
  const { config, clock, guard, log, metrics, pods, permissions, time } = shared;
  const { monotonic } = time;
  const settings = settingsOf(config, profile);
  const token = profile.hasTokenEndpoint ? config.endpoints?.token : undefined;

  const requests = createInformer(shared, requestsOf(signerName, profile.annotations));
  const bundles = followBundles(signerName, settings, shared);
  const pool = poolOf(settings, bundles.published, common);
  const publishing = createPublishing(profile, settings, shared, {
    pool,
    bundles,
    // Also for a signer that the endpoint does not use: without requests it issues nothing, and waits for no roots.
    endpointAlone: () => config.endpoints?.token !== undefined && requests.isMissing(),
  });
  const { publisher, configMaps, visibility } = publishing;

  const followed: Informer<unknown>[] = [];
  const facts = [podFacts(pods.store)];
  const ofProfile: MakePart[] = [];
  const decided = profile.identifier(settings, {
    follow(spec, podsOf) {
      const informer = informerOf(spec, common);
      followed.push(informer);
      facts.push(factsOf(informer.store, podsOf, spec.isSame));
      return informer;
    },
    run: (make) => ofProfile.push(make),
    config,
    pods,
  });
  // Here, so that neither a profile nor a caller can forget it: the listeners serve before everything is read.
  const identify = onceRead(decided, followed);
  const certificate = profile.certificate(settings);
  const signing = createSigning({
    ...shared,
    pool,
    visibility,
    clockProblem: clock.problem,
    policy: {
      maxLifetimeSeconds: settings.maxLifetimeSeconds,
      refreshFraction: settings.refreshFraction,
      refreshJitter,
    },
    profile: certificate,
  });
  const controller = createController({
    ...shared,
    requests: requests.store,
    pods: pods.store,
    facts: joinFacts(facts),
    servedVersions: () => requests.versions() ?? [],
    rediscover: shared.discovery.rediscover,
    signing,
    signerName,
    status: createStatusWriter(shared.transport, config.replica),
    report: createReporter({ ...shared, signerName }),
    identify,
    takeoverDelayMs: config.takeoverDelayMs,
    concurrency: config.concurrency,
    concurrencyOfNamespace: shared.writeLimit.current,
    onError: (error, request) => log.error({ request, error: messageOf(error) }, 'a request failed'),
  });

  /** Why no certificates can be signed now. */
  const x509Problem = (): SigningProblem | undefined => {
    const usable = signing.mayUse();
    if (!usable.ok) return { reason: usable.reason, message: explain(usable.reason, usable.detail) };
    const unguarded = guard.reason();
    if (unguarded !== undefined)
      return { reason: 'RequestsUnguarded', message: explain('RequestsUnguarded', unguarded) };
    const forbidden = permissions.problem();
    if (forbidden === undefined) return undefined;
    return { reason: 'SignerForbidden', message: explain('SignerForbidden', forbidden) };
  };
  const showSigningState = createSigningState({
    ...shared,
    signerName,
    x509: x509Problem,
    jwt: token && jwtProblem(token, { pool, clock, time }),
    pods: pods.store,
    namespace: config.namespace,
    replica: config.replica,
  });

  const wake = createWake({
    signsWith() {
      const usable = signing.mayUse();
      return usable.ok && guard.reason() === undefined ? usable.authority.id : undefined;
    },
    isPermitted: () => permissions.problem() === undefined,
    wake: controller.wake,
  });

  const labels = { signer: signerName };
  const needed: readonly Informer<unknown>[] = [requests, bundles.informer, ...followed];
  const parts: readonly Part[] = [
    pool,
    publisher,
    ...(configMaps ? [configMaps] : []),
    ...needed,
    ...publishing.informers,
    ...ofProfile.map((make) => make(shared, joinFacts(facts))),
  ];
  return {
    profile,
    pool,
    /** What the documents of the trust domain are made from. */
    publication: createPublication(pool.current, shared.federated, {
      mark: bundles.mark,
      isMissing: bundles.informer.isMissing,
      isRead: bundles.informer.store.isSynced,
    }),
    requests: requests as Pick<Informer<unknown>, 'versions' | 'isMissing'>,
    bundles: bundles.informer,
    /** What identities depend on besides pods. */
    facts: followed,
    /** What must be known before requests are answered. */
    needed,
    /** Everything that runs as long as the replica does. Signers may share some of it. */
    parts,
    controller,
    identify,
    certificate,
    mayUse: signing.mayUse,
    /** Where a root must be visible before anything is signed under it. */
    visibility,
    /** Calls the listener when the pool or its bundles have changed. */
    onChange(listener: () => void): void {
      pool.onChange(listener);
      publisher.onChange(listener);
    },
    /**
     * Shows whether it can sign, in a metric and in an Event, and wakes the requests that wait for it. To be called about
     * every second, and when something changed that signing depends on.
     */
    look(): void {
      showSigningState();
      wake();
    },
    refreshMetrics(): void {
      const pending = controller.pending();
      metrics.pendingRequests.set(labels, pending.count);
      metrics.oldestPending.set(labels, pending.oldestMs / 1000);
      metrics.queueDepth.set(labels, pending.queued);
      metrics.poolConfirmedAge.set(labels, (monotonic() - pool.confirmedAtMonotonic()) / 1000);
      for (const [state, count] of Object.entries(configMaps?.states() ?? {})) {
        metrics.rootsConfigMaps.set({ ...labels, state }, count);
      }
      setAuthorityExpiry(metrics, signerName, pool.current());
    },
  };
}

export function setAuthorityExpiry(
  metrics: Pick<Metrics, 'authorityExpiry'>,
  signer: string,
  pool: Pool | undefined,
): void {
  for (const { id, state, signingAuthority, root } of pool?.authorities ?? []) {
    const end = signingAuthority?.notAfter ?? root.notAfter;
    metrics.authorityExpiry.set({ authority: id, state, signer }, end);
  }
}

/** Signers of the same pool share its view. The bundle of the first one says what was published last. */
function poolOf(
  { pool: place, trustDomain, rootPropagationSeconds }: ReturnType<typeof settingsOf>,
  published: ReturnType<typeof followBundles>['published'],
  shared: Shared,
): PoolView {
  const key = `${place.namespace}/${place.name}`;
  const known = shared.pools.get(key);
  if (known) return known;
  const pool = createPoolView({ ...shared, ...place, trustDomain, rootPropagationSeconds, published });
  shared.pools.set(key, pool);
  return pool;
}

/** Signers that follow the same resource share its informer. */
function informerOf<Wire, T>(spec: InformerSpec<Wire, T>, shared: Shared): Informer<T> {
  const known = shared.informers.get(spec) as Informer<T> | undefined;
  if (known) return known;
  const informer = createInformer(shared, spec);
  shared.informers.set(spec, informer);
  return informer;
}
