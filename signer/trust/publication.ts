import { hash } from 'node:crypto';
import { poolLimits } from '../authority/document.ts';
import type { Pool } from '../authority/pool.ts';
import { markOf, type PoolMark } from '../authority/sequence.ts';
import type { Store } from '../kube/store.ts';
import { markAnnotations, type ObservedBundle } from './bundle.ts';
import { type FederationView, noSiblings, type Siblings, withoutFederation } from './siblings.ts';

/** What the documents of the trust domain are made from. Replaced as a whole when something changes. */
export interface Publication {
  readonly pool: Pool;
  readonly siblings: Siblings;
  /** `spiffe_sequence` of the bundle. */
  readonly sequence: number;
}

/** What is published now. */
export interface PublicationView {
  /** Undefined before everything that belongs to it is known. */
  current(): Publication | undefined;
  /** Why there is nothing to publish from yet, for a person. */
  problem(): string | undefined;
}

/** In the live ClusterTrustBundle: the sequence of the bundle, which all replicas share there, and its content. */
export const bundleMark = markAnnotations({
  sequence: 'kubespiffe.io/bundle-sequence',
  content: 'kubespiffe.io/bundle-content-sha256',
});

/** Far above what a replica serves that has not seen yet that there are other clusters: the sequence of the pool. */
const headStart = 1_000_000;

/**
 * Remembers the highest mark that the live bundle has had while this replica ran: the sequence must not go back when
 * the bundle or its annotations are deleted. A sequence that was seen with two contents matches neither, so that the next
 * one is used. Marks in the upper half of the range are not remembered: counting never comes that far, and after one
 * that another client wrote there has to be a way back.
 */
export function followBundleMark(
  bundles: Pick<Store<ObservedBundle>, 'get' | 'subscribe'>,
  liveName: string,
): () => PoolMark | undefined {
  let highest: PoolMark | undefined;
  bundles.subscribe(({ type, key, object }) => {
    const mark = type === 'set' && key === liveName ? bundleMark.read(object) : undefined;
    if (mark && mark.sequence < poolLimits.sequence / 2) highest = laterOf(highest, mark);
  });
  return () => laterOf(highest, bundleMark.read(bundles.get(liveName)));
}

function laterOf(one: PoolMark | undefined, other: PoolMark | undefined): PoolMark | undefined {
  if (!one || !other) return one ?? other;
  if (one.sequence !== other.sequence) return one.sequence > other.sequence ? one : other;
  return one.content === other.content ? one : { sequence: one.sequence, content: 'several' };
}

/**
 * The mark that the live bundle should have. Where there are other clusters, or were, the sequence of the pool is not enough:
 * it does not grow when something changes there. Undefined where the pool alone is published. Pure.
 *
 * @param recorded the highest mark that the live bundle has had.
 */
export function nextBundleMark(
  pool: Pool,
  siblings: Siblings,
  recorded: PoolMark | undefined,
): PoolMark | undefined {
  if (siblings.content === '' && !recorded) return undefined;
  const content = contentOf(pool, siblings);
  if (recorded?.content === content) return recorded;
  const last = recorded?.sequence ?? 0;
  return { sequence: last > pool.sequence ? last + 1 : pool.sequence + headStart, content };
}

const contentOf = (pool: Pool, siblings: Siblings): string =>
  hash('sha256', `${markOf(pool).content} ${siblings.content}`, 'hex');

/**
 * What is published now. New content is served only when its sequence is recorded: two replicas never give one sequence to
 * different content, and no reader sees it go back (SPIFFE Trust Domain and Bundle 4.1.1). Until then, and while the other
 * clusters are not known, the last publication stays.
 */
export function createPublication(
  pool: () => Pool | undefined,
  federated: FederationView,
  live: {
    readonly mark: () => PoolMark | undefined;
    readonly isMissing: () => boolean;
    /** Whether the ClusterTrustBundles are read: before that, a higher sequence may be recorded there. */
    readonly isRead: () => boolean;
  },
): PublicationView {
  let last: Publication | undefined;
  // Without ClusterTrustBundles there is no place for the sequence, so the pool is published alone.
  const siblings = () => (live.isMissing() ? noSiblings : federated.siblings());

  function publication(): Publication | undefined {
    const current = pool();
    const others = siblings();
    if (!current || !others || !live.isRead()) return current && last;
    const recorded = live.isMissing() ? undefined : live.mark();
    const next = nextBundleMark(current, others, recorded);
    if (next !== recorded) return last;
    const sequence = next?.sequence ?? current.sequence;
    const isSame = last?.pool === current && last.siblings === others && last.sequence === sequence;
    if (!isSame) last = { pool: current, siblings: others, sequence };
    return last;
  }

  return {
    current: publication,
    problem() {
      if (publication()) return undefined;
      if (!pool()) return 'the pool was not read yet';
      if (!siblings()) return 'the FederatedTrustDomains were not read yet';
      if (!live.isRead()) return 'the ClusterTrustBundles were not read yet';
      return 'the sequence of the bundle is not in its ClusterTrustBundle yet';
    },
  };
}

/** The publication of a pool alone. */
export function publicationOf(pool: () => Pool | undefined): PublicationView {
  return createPublication(pool, withoutFederation, {
    mark: () => undefined,
    isMissing: () => true,
    isRead: () => true,
  });
}
