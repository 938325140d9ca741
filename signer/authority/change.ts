import { type AuthorityRecord, type PoolDocument, poolLimits } from './document.ts';

/** Why a change is not made, and what to do. */
export interface Refusal {
  readonly ok: false;
  readonly what: string;
  readonly remedy: string;
  /** It passes by itself, as soon as a signer has written the bundle. */
  readonly isPassing?: true;
}

export function refusal(what: string, remedy: string): Refusal {
  return { ok: false, what, remedy };
}

/** Why a pool gets no further authority; undefined where there is room. */
export function fullPool({ authorities }: PoolDocument): Refusal | undefined {
  if (authorities.length < poolLimits.authorities) return undefined;
  const what = `the pool has ${authorities.length} authorities, which is the limit`;
  return refusal(what, 'remove retired ones with `kubespiffe ca remove`');
}

/** A change of a pool that is allowed. */
export interface Change {
  readonly ok: true;
  readonly document: PoolDocument;
  /** The authorities that changed, with their states in words; undefined where it was, or is, not in the pool. */
  readonly changed: readonly {
    readonly id: string;
    readonly from: string | undefined;
    readonly to: string | undefined;
  }[];
  /** What breaks, so that a person must want it; undefined for nothing. */
  readonly consequence: string | undefined;
  /** What else is good to know. */
  readonly notes: readonly string[];
  /** Authorities whose keys were made for this change: nothing can be signed by them yet. */
  readonly made?: readonly AuthorityRecord[];
}

/** The pool with these authorities instead of its own. Every change raises its sequence. */
export function withAuthorities(
  document: PoolDocument,
  authorities: readonly AuthorityRecord[],
): PoolDocument {
  return { ...document, sequence: document.sequence + 1, authorities };
}

export function changeOf(
  before: PoolDocument,
  document: PoolDocument,
  more: Partial<Pick<Change, 'consequence' | 'notes' | 'made'>> = {},
): Change {
  const changed = changesBetween(before, document);
  return { ok: true, document, changed, consequence: undefined, notes: [], ...more };
}

/** The authorities that are not the same in both, in the order of the pool. */
function changesBetween(before: PoolDocument, after: PoolDocument): Change['changed'] {
  const words = ({ state, tainted, request }: AuthorityRecord) =>
    `${state}${tainted ? ', tainted' : ''}${request === undefined ? '' : ', waits for its certificate'}`;
  const from = new Map(before.authorities.map((each) => [each.id, words(each)]));
  const to = new Map(after.authorities.map((each) => [each.id, words(each)]));
  return [...new Set([...from.keys(), ...to.keys()])]
    .map((id) => ({ id, from: from.get(id), to: to.get(id) }))
    .filter((each) => each.from !== each.to);
}
