import type { Pool } from '../authority/pool.ts';
import type { PoolView } from '../authority/view.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { ConfigMap, Namespace } from '../kube/types.ts';
import { createKeeper, type KeeperNeeds } from './keeper.ts';
import { managedBy } from './labels.ts';
import { fieldManager } from './publisher.ts';
import {
  type DesiredRoots,
  desiredRoots,
  nextStep,
  type OptedIn,
  optInLabel,
  type PublishedRoots,
  rootsKey,
  type Step,
  toOptedIn,
} from './roots-configmap.ts';

export interface ConfigMapPublisherNeeds extends KeeperNeeds {
  readonly pool: PoolView;
  /** The namespaces with the label, by name. */
  readonly namespaces: Store<OptedIn>;
  /** The ConfigMaps of our name in all namespaces, by `namespace/name`. */
  readonly published: Store<PublishedRoots>;
  readonly transport: Transport;
  readonly events: Pick<EventRecorder, 'record'>;
  /** The name of the ConfigMap, the same in every namespace. */
  readonly name: string;
}

/** How it stands with a namespace that takes part. */
export const rootsStates = ['published', 'pending', 'foreign', 'failed'] as const;
export type RootsState = (typeof rootsStates)[number];

export interface ConfigMapPublisher {
  /** How many namespaces are in each state. */
  states(): Readonly<Record<RootsState, number>>;
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Keeps a ConfigMap with the roots of the pool in every namespace that asks for it by a label, and takes it away where
 * the label is gone. As with the ClusterTrustBundle, the pool is read live before each write, and one that is empty or
 * cannot be read changes nothing. What somebody else has put under the name is neither changed nor deleted.
 */
export function createConfigMapPublisher(needs: ConfigMapPublisherNeeds): ConfigMapPublisher {
  const { pool, namespaces, published, transport, name, log } = needs;
  const describe = (namespace: string) => ({ namespace, configMap: name });
  const keeper = createKeeper(needs, {
    describe,
    drift: (namespace) => driftOf(stepFor(namespace, currentRoots())),
    repair,
    concurrency: 8,
  });
  let made: { readonly from: Pool; readonly roots: DesiredRoots | undefined } | undefined;
  let reading: ReturnType<PoolView['readLive']> | undefined;

  /** A pool is replaced as a whole, never changed, so its PEM is made once. */
  function currentRoots(): DesiredRoots | undefined {
    const current = pool.current();
    if (!current) return undefined;
    if (made?.from !== current) {
      const desired = desiredRoots(current);
      made = { from: current, roots: desired.ok ? desired.value : undefined };
    }
    return made.roots;
  }

  function stepFor(namespace: string, desired: DesiredRoots | undefined): Step {
    // Half of the picture would look as if a namespace had no label, or no ConfigMap.
    if (!namespaces.isSynced() || !published.isSynced()) return { kind: 'nothing' };
    return nextStep(desired, namespaces.get(namespace), published.get(`${namespace}/${name}`));
  }

  function lookAtAll(): void {
    for (const namespace of namespaces.keys()) keeper.look(namespace);
    for (const key of published.keys()) keeper.look(namespaceOf(key));
  }

  namespaces.subscribe(({ key }) => keeper.look(key));
  published.subscribe(({ key }) => keeper.look(namespaceOf(key)));
  pool.onChange(lookAtAll);

  async function repair(namespace: string, drift: string, signal: AbortSignal): Promise<string | undefined> {
    const known = published.get(`${namespace}/${name}`);
    const { kind } = stepFor(namespace, currentRoots());
    if (kind === 'foreign' && known) return tellOfForeign(namespace, known);
    if (kind === 'withdraw' && known) {
      if (!(await hasOptedOut(namespace, signal))) return undefined;
      await withdraw(namespace, known, signal);
      log.info({ ...describe(namespace), drift }, 'roots withdrawn');
      return undefined;
    }
    const live = await readPool();
    if (!live.ok) return live.problem.message;
    const desired = desiredRoots(live.pool);
    if (!desired.ok) return desired.reason;
    if (stepFor(namespace, desired.value).kind !== 'publish') return undefined;
    await publish(namespace, desired.value, known, signal);
    log.info({ ...describe(namespace), drift }, 'roots published');
    return undefined;
  }

  /** Those who ask at the same time share an answer: with many namespaces it is the same question many times. */
  function readPool(): ReturnType<PoolView['readLive']> {
    reading ??= pool.readLive().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  /** Whether it is there without the label: the watch may be behind, and a deletion is not taken back. */
  async function hasOptedOut(namespace: string, signal: AbortSignal): Promise<boolean> {
    const { body } = await transport.request<Namespace>({
      method: 'GET',
      path: `/api/v1/namespaces/${namespace}`,
      resource: 'namespaces',
      signal,
    });
    return body.metadata.labels?.[optInLabel.key] !== optInLabel.value && !toOptedIn(body).isTerminating;
  }

  /**
   * What is there already is ours, and is made right by force. Where nothing was seen, something may have come just
   * now: without force, the API server refuses to change a key or a label that somebody else has set.
   */
  function publish(
    namespace: string,
    { labels, pem }: DesiredRoots,
    known: PublishedRoots | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const metadata = { name, namespace, labels, ...(known && { uid: known.uid }) };
    return apply(namespace, { metadata, data: { [rootsKey]: pem } }, known !== undefined, signal);
  }

  /** Deletes what we have made, or takes out what is ours when somebody else keeps things in it too. */
  async function withdraw(namespace: string, known: PublishedRoots, signal: AbortSignal): Promise<void> {
    const { uid, resourceVersion } = known;
    if (known.holdsMore) {
      return apply(namespace, { metadata: { name, namespace, uid } }, true, signal);
    }
    await transport.request({
      method: 'DELETE',
      path: pathOf(namespace),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } },
      resource: 'configmaps',
      discardBody: true,
      signal,
    });
  }

  async function apply(
    namespace: string,
    configMap: ConfigMap,
    force: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    await transport.request({
      method: 'PATCH',
      path: pathOf(namespace),
      query: { fieldManager, force: String(force) },
      contentType: 'application/apply-patch+yaml',
      body: { apiVersion: 'v1', kind: 'ConfigMap', ...configMap },
      resource: 'configmaps',
      discardBody: true,
      signal,
    });
  }

  function pathOf(namespace: string): string {
    return `/api/v1/namespaces/${namespace}/configmaps/${name}`;
  }

  function tellOfForeign(namespace: string, { uid }: PublishedRoots): string {
    const note =
      `The roots cannot be published here: somebody else has made a ConfigMap ${name}. Rename or delete it, or hand ` +
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
    const desired = currentRoots();
    const { kind } = stepFor(namespace, desired);
    if (namespaces.get(namespace)?.isTerminating) return undefined;
    if (kind === 'foreign') return 'foreign';
    if (kind === 'nothing') return desired ? 'published' : 'pending';
    return keeper.fault(namespace) === undefined ? 'pending' : 'failed';
  }

  return {
    states() {
      const counts = { published: 0, pending: 0, foreign: 0, failed: 0 };
      for (const namespace of namespaces.keys()) {
        const state = stateOf(namespace);
        if (state) counts[state] += 1;
      }
      return counts;
    },
    async run(signal) {
      void Promise.all([namespaces.synced, published.synced]).then(lookAtAll);
      await keeper.run(signal);
    },
  };
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

function driftOf(step: Step): string | undefined {
  if (step.kind === 'nothing') return undefined;
  return step.kind === 'foreign' ? 'somebody else has made a ConfigMap of the name' : step.drift;
}
