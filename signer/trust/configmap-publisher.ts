import { failure, type Result } from '../../spiffe/pki/result.ts';
import type { Pool } from '../authority/pool.ts';
import type { PoolView } from '../authority/view.ts';
import { ApiStatusError } from '../kube/api-error.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import { createAwaitedNamespaces } from './awaited-namespaces.ts';
import { createConfigMapWriter } from './configmap-writer.ts';
import { createKeeper, type KeeperNeeds } from './keeper.ts';
import { managedBy } from './labels.ts';
import type { RootVisibility } from './root-visibility.ts';
import {
  type DesiredRoots,
  desiredRoots,
  nextStep,
  type ObservedConfigMap,
  type OptedIn,
  type RootSources,
  type Step,
} from './roots-configmap.ts';
import type { FederationView } from './siblings.ts';

export interface ConfigMapPublisherNeeds extends KeeperNeeds {
  readonly pool: PoolView;
  readonly federated: FederationView;
  /** The namespaces with the label, by name. */
  readonly namespaces: Store<OptedIn>;
  /** The ConfigMaps of our name in all namespaces, by `namespace/name`. */
  readonly observed: Store<ObservedConfigMap>;
  readonly transport: Transport;
  readonly events: Pick<EventRecorder, 'record'>;
  /** The name of the ConfigMap, the same in every namespace. */
  readonly name: string;
}

/** The state of a namespace that takes part. */
export type RootsState = 'published' | 'pending' | 'foreign' | 'failed';

export interface ConfigMapPublisher extends RootVisibility {
  /** How many namespaces are in each state. */
  states(): Readonly<Record<RootsState, number>>;
  /** Keeps them up to date until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** How long changes of federated trust domains are collected, in milliseconds. */
const federatedRestMs = 1_000;

/**
 * Keeps a ConfigMap with the roots of the pool in every namespace with the label, and removes it when the label is
 * removed. As with the ClusterTrustBundle, the pool is read live before each write; an empty or unreadable pool changes
 * nothing. A ConfigMap of the same name that is not ours is neither changed nor deleted.
 */
export function createConfigMapPublisher(needs: ConfigMapPublisherNeeds): ConfigMapPublisher {
  const { pool, federated, namespaces, observed, name, log } = needs;
  const writer = createConfigMapWriter(needs.transport, name);
  const describe = (namespace: string) => ({ namespace, configMap: name });
  const keeper = createKeeper(needs, {
    describe,
    difference(namespace) {
      const step = stepFor(namespace, currentRoots());
      return step.kind === 'nothing' ? undefined : step.difference;
    },
    repair,
    concurrency: 8,
  });
  const awaited = createAwaitedNamespaces();
  let followed: Pool | undefined;
  let made: { readonly from: RootSources; readonly roots: Result<DesiredRoots> } | undefined;
  let reading: ReturnType<PoolView['readLive']> | undefined;
  let warnedOf: DesiredRoots['leftOut'] = new Map();

  /** All of them are replaced as a whole, never changed, so the PEM is made once. */
  function rootsOf(current: Pool): Result<DesiredRoots> {
    const [siblings, peers] = [federated.siblings(), federated.peers()];
    if (!siblings || !peers) return failure('the FederatedTrustDomains are not read yet');
    const isSame =
      made?.from.pool === current && made.from.siblings === siblings && made.from.peers === peers;
    if (!made || !isSame) {
      const from = { pool: current, siblings, peers };
      made = { from, roots: desiredRoots(current, from) };
      warnOfLeftOut(made.roots);
    }
    return made.roots;
  }

  /** Once for each trust domain and reason, as long as it is left out. */
  function warnOfLeftOut(roots: Result<DesiredRoots>): void {
    if (!roots.ok) return;
    const { leftOut } = roots.value;
    for (const [trustDomain, why] of leftOut) {
      if (warnedOf.get(trustDomain) === why) continue;
      log.warn({ configMap: name, trustDomain, why }, 'the ConfigMaps lack the roots of a trust domain');
    }
    warnedOf = leftOut;
  }

  function currentRoots(): Result<DesiredRoots> {
    const current = pool.current();
    return current ? rootsOf(current) : failure('there is no usable pool to publish');
  }

  function stepFor(namespace: string, roots: Result<DesiredRoots>): Step {
    // Until both are read, a namespace would seem to have no label or no ConfigMap.
    if (!isRead()) return { kind: 'nothing' };
    const desired = roots.ok ? roots.value : undefined;
    return nextStep(desired, namespaces.get(namespace), observed.get(`${namespace}/${name}`));
  }

  function lookAtAll(): void {
    for (const namespace of namespaces.keys()) keeper.look(namespace);
    for (const key of observed.keys()) keeper.look(namespaceOf(key));
  }

  namespaces.subscribe(({ type, key }) => {
    if (type === 'delete') awaited.leaves(key);
    keeper.look(key);
  });
  // Each change is handled as it arrives: the next one may undo it.
  observed.subscribe(({ type, key, object }) => {
    const namespace = namespaceOf(key);
    if (type === 'set') awaited.holds(namespace, object.roots);
    if (stateOf(namespace) === 'published') awaited.complies(namespace);
    keeper.look(namespace);
  });
  // Many trust domains may change at once, and each look at the roots makes all of them again.
  let isLooking = false;
  federated.onChange(() => {
    if (isLooking) return;
    isLooking = true;
    needs.time.timer(() => {
      isLooking = false;
      lookAtAll();
    }, federatedRestMs);
  });
  pool.onChange(() => {
    followRoots();
    lookAtAll();
  });

  /** Not before the namespaces are read: a root would wait for none. */
  function followRoots(): void {
    const current = pool.current();
    if (!isRead() || current === followed) return;
    followed = current;
    awaited.follow(fingerprints(current), [...namespaces.keys()]);
  }

  function isRead(): boolean {
    return namespaces.isSynced() && observed.isSynced();
  }

  async function repair(
    namespace: string,
    difference: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const known = observed.get(`${namespace}/${name}`);
    const { kind } = stepFor(namespace, currentRoots());
    if (kind === 'foreign' && known) return tellOfForeign(namespace, known);
    if (kind === 'withdraw' && known) {
      if (!(await writer.hasOptedOut(namespace, signal))) return undefined;
      await writer.withdraw(namespace, known, signal);
      log.info({ ...describe(namespace), difference }, 'roots withdrawn');
      return undefined;
    }
    const live = await readPool();
    if (!live.ok) return live.problem.message;
    const desired = rootsOf(live.pool);
    if (!desired.ok) return desired.reason;
    if (stepFor(namespace, desired).kind !== 'publish') return undefined;
    await writer.publish(namespace, desired.value, known, signal).catch((error: unknown) => {
      if (isConflict(error)) awaited.conflicts(namespace);
      else if (isRefusal(error)) awaited.refuses(namespace);
      throw error;
    });
    awaited.complies(namespace);
    awaited.holds(namespace, fingerprints(live.pool));
    log.info({ ...describe(namespace), difference }, 'roots published');
    return undefined;
  }

  /** Concurrent callers share an answer: with many namespaces it is the same read many times. */
  function readPool(): ReturnType<PoolView['readLive']> {
    reading ??= pool.readLive().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  function tellOfForeign(namespace: string, { uid }: ObservedConfigMap): string {
    const note =
      `The roots cannot be published here: a ConfigMap ${name} exists that the signer did not make. Rename or delete it, or hand ` +
      `it over with the label ${managedBy.key}=${managedBy.value}.`;
    if (needs.rankFor(namespace) === 0) {
      needs.events.record({
        key: `${uid}/RootsNotPublished`,
        regarding: { apiVersion: 'v1', kind: 'ConfigMap', namespace, name, uid },
        type: 'Warning',
        reason: 'RootsNotPublished',
        action: 'Publish',
        note,
      });
    }
    return note;
  }

  function stateOf(namespace: string): RootsState | undefined {
    const roots = currentRoots();
    const { kind } = stepFor(namespace, roots);
    if (namespaces.get(namespace)?.isTerminating) return undefined;
    if (kind === 'foreign') return 'foreign';
    if (kind === 'nothing') return roots.ok ? 'published' : 'pending';
    return keeper.problem(namespace) === undefined ? 'pending' : 'failed';
  }

  /** Whether a namespace lacks the roots. One with a foreign ConfigMap, or that is being deleted, need not have them. */
  function owes(namespace: string): boolean {
    return (
      namespaces.get(namespace) !== undefined && ['pending', 'failed'].includes(stateOf(namespace) ?? '')
    );
  }

  return {
    place: `ConfigMap ${name}`,
    whenVisible: `ConfigMap ${name} shows the root of the active authority, in each namespace that takes the roots`,
    // A namespace that is new, or that lost or reverted the roots, must not block the others.
    isVisible({ sha256Hex }) {
      if (!isRead()) return false;
      followRoots();
      return awaited.isReached(sha256Hex, {
        holds: (namespace) => observed.get(`${namespace}/${name}`)?.roots.has(sha256Hex) ?? false,
        owes,
      });
    },
    problem() {
      if (!isRead()) return 'namespaces and ConfigMaps are not read yet';
      const roots = currentRoots();
      if (!roots.ok) return roots.reason;
      const [first, ...others] = [...namespaces.keys()].filter(owes);
      if (first === undefined) return undefined;
      const why = keeper.problem(first) ?? 'it is still to be written';
      return `${others.length + 1} of ${namespaces.size} namespaces do not have the roots; ${first}: ${why}`;
    },
    states() {
      const counts = { published: 0, pending: 0, foreign: 0, failed: 0 };
      for (const namespace of namespaces.keys()) {
        const state = stateOf(namespace);
        if (state) counts[state] += 1;
      }
      return counts;
    },
    async run(signal) {
      void Promise.all([namespaces.synced, observed.synced]).then(lookAtAll);
      await keeper.run(signal);
    },
  };
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiStatusError && error.status === 409;
}

/** Client errors whose cause is the signer or the moment, not the namespace. */
const passing = [401, 408, 409, 429];

/** Whether an answer means that the namespace refuses the write, and not that the server or our view has a problem. */
function isRefusal(error: unknown): boolean {
  return error instanceof ApiStatusError && error.status < 500 && !passing.includes(error.status);
}

function fingerprints(pool: Pool | undefined): string[] {
  return pool?.roots.map(({ sha256Hex }) => sha256Hex) ?? [];
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}
