import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import { keyOf, rootOf } from './material.ts';
import { isBelowStolen, isSeen, isStandby, readyFrom, type Shown, signedUntil } from './ready.ts';
import { type AuthorityState, isJwtKind } from './states.ts';
import {
  dateTransitions,
  endOf,
  keepsRoot,
  type Lifetimes,
  type Refusal,
  retireAuthority,
} from './transitions.ts';

/** How long things take, in seconds. */
export interface Timing extends Lifetimes {
  /** How long a root, or a JWT key, must be published before it signs. */
  readonly rootPropagationSeconds: number;
  readonly jwtPropagationSeconds: number;
  /** Since when the live bundle shows a root (SHA-256 in hex) or a JWT key (`kid`), where that can be later than the pool says. */
  readonly shownSince?: ReadonlyMap<string, Seconds>;
}

/** The verbs that bring one authority from one state to the next, with the states that they start from. */
export const verbs = {
  preview: ['prepared'],
  trust: ['prepared', 'preview'],
  activate: ['trusted'],
  retire: ['trusted', 'active', 'retiring'],
  remove: ['prepared', 'preview', 'retired'],
  taint: ['prepared', 'preview', 'trusted', 'active', 'retiring'],
  untaint: ['trusted', 'active', 'retiring'],
} as const satisfies Record<string, readonly AuthorityState[]>;

export type Verb = keyof typeof verbs;

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

/** What a verb makes of the authorities, before anything is dated. */
type Step = Omit<Change, 'ok' | 'changed' | 'document'> & {
  readonly ok: true;
  readonly authorities: readonly AuthorityRecord[];
};

/**
 * Applies one verb to one authority, at `now` in seconds since the epoch. Nothing else changes the state of an authority
 * of a pool that is there.
 */
export function applyVerb(document: PoolDocument, verb: Verb, id: string, options: Facts): Change | Refusal {
  const record = document.authorities.find((each) => each.id === id);
  if (!record) {
    const ids = document.authorities.map((each) => each.id).join(', ');
    return refuse(`there is no authority ${id} in the pool`, `name one of ${ids}`);
  }
  const from: readonly AuthorityState[] = verbs[verb];
  if (!from.includes(record.state)) return wrongState(verb, record);
  if (record.request !== undefined && (verb === 'preview' || verb === 'trust')) {
    return refuse(
      `authority ${id} waits for its certificate`,
      `have its request signed, and import the answer with \`kubespiffe ca import --request ${id}\``,
    );
  }
  if (record.tainted && (verb === 'preview' || verb === 'trust')) {
    return refuse(
      `authority ${id} is tainted and must not be published`,
      `remove it with \`kubespiffe ca remove ${id}\`, and prepare another one`,
    );
  }
  const step = stepOf(verb, record, document, options);
  if (!step.ok) return step;
  const { authorities, consequence, notes } = step;
  const raised = { ...document, sequence: document.sequence + 1, authorities };
  const dated = dateTransitions(raised, { pool: document, roots: options.published }, options.now);
  return { ok: true, document: dated, changed: changesBetween(document, dated), consequence, notes };
}

interface Facts extends Shown {
  readonly now: Seconds;
  readonly timing: Timing;
}

function stepOf(verb: Verb, record: AuthorityRecord, document: PoolDocument, facts: Facts): Step | Refusal {
  switch (verb) {
    case 'preview':
      if (!isJwtKind(record.kind)) return plain(withState(document, record, 'preview'));
      return refuse(
        `authority ${record.id} is a JWT key, and only roots have a preview bundle`,
        `publish it with \`kubespiffe ca trust ${record.id}\``,
      );
    case 'trust':
      return plain(withState(document, record, 'trusted'));
    case 'activate':
      return activate(record, document, facts);
    case 'retire': {
      const retired = retireAuthority(document, record.id, facts.now, facts.timing);
      if (!retired.ok) return retired;
      const { consequence } = retired;
      return {
        ok: true,
        authorities: retired.document.authorities,
        consequence,
        notes: keptRootNotes(record, document),
      };
    }
    case 'remove':
      return remove(record, document, facts);
    case 'taint':
      return taint(record, document, facts);
    case 'untaint':
      return untaint(record, document);
  }
}

/** Nothing is revoked: what a stolen key signs is accepted as long as its CA is valid and the root is published. */
function keptRootNotes(record: AuthorityRecord, document: PoolDocument): readonly string[] {
  if (!record.tainted || !keepsRoot(record, document)) return [];
  const end = endOf(record, document.trustDomain);
  return [
    `the root of authority ${record.id} stays published for another one, so what its key signs is accepted` +
      `${end === undefined ? '' : ` until ${rfc3339(end)}`}; only without that root it is not`,
  ];
}

function activate(
  record: AuthorityRecord,
  document: PoolDocument,
  { now, timing, ...shown }: Facts,
): Step | Refusal {
  const { id, kind } = record;
  if (record.tainted) {
    return refuse(`authority ${id} is tainted and never signs again`, 'make another one active');
  }
  if (!hasKey(record)) {
    return refuse(`authority ${id} has no private key in the pool`, 'make one active that has its key');
  }
  if (isJwtKind(kind) && record.publishedAt === undefined) {
    const what = `the pool does not say since when the key of authority ${id} is published`;
    return refuse(what, 'prepare another one with `kubespiffe ca prepare`, or set publishedAt by hand');
  }
  if (!isSeen(record, shown)) {
    const what = isJwtKind(kind)
      ? `no signer has published the key of authority ${id} yet`
      : `the root of authority ${id} is not in the ClusterTrustBundle yet`;
    const remedy = 'wait until a signer has published it; its readiness says what prevents that';
    return { ...refuse(what, remedy), isPassing: true };
  }
  const from = readyFrom(record, document, timing);
  const below = isBelowStolen(record, document)
    ? `the root of authority ${id} is tainted: what is signed below it becomes invalid when that root leaves the bundles`
    : undefined;
  const early =
    from <= now
      ? undefined
      : `authority ${id} may sign from ${rfc3339(Math.ceil(from))} on, when everybody who verifies can know it: ` +
        `until then no ${isJwtKind(kind) ? 'tokens' : 'certificates'} are signed`;
  return {
    ok: true,
    authorities: makeActive(record, document.authorities),
    consequence: below ?? early,
    notes: [],
  };
}

/** The one of its kind, so that the one before only verifies from now on. */
function makeActive(
  record: AuthorityRecord,
  authorities: readonly AuthorityRecord[],
): readonly AuthorityRecord[] {
  return authorities.map((each) => {
    if (each === record) return { ...each, state: 'active' };
    return each.kind === record.kind && each.state === 'active' ? { ...each, state: 'retiring' } : each;
  });
}

function remove(record: AuthorityRecord, document: PoolDocument, facts: Facts): Step | Refusal {
  const { published, timing, now } = facts;
  const root = rootOf(record);
  if (root !== undefined && published?.has(root) && !keepsRoot(record, document)) {
    const what = `the root of authority ${record.id} is still in the ClusterTrustBundle, and signers refuse a pool that lacks it`;
    return { ...refuse(what, 'wait until a signer has taken it out'), isPassing: true };
  }
  const authorities = document.authorities.filter((each) => each !== record);
  const until = signedUntil(record, document, timing);
  if (until <= now) return plain(authorities);
  const consequence =
    `authority ${record.id} may have signed what is valid until ${rfc3339(Math.ceil(until))}: after this nothing in the pool ` +
    'says that its root must not come back';
  return { ok: true, authorities, consequence, notes: [] };
}

/** Each authority with the stolen key is tainted. Where another one is ready, it takes over at once. */
function taint(record: AuthorityRecord, document: PoolDocument, { now, timing, ...shown }: Facts): Step {
  const key = keyOf(record);
  const hasKey = (each: AuthorityRecord) => each === record || keyOf(each) === key;
  const authorities = document.authorities.map((each) => (hasKey(each) ? { ...each, tainted: true } : each));
  if (!document.authorities.some((each) => each.state === 'active' && hasKey(each)))
    return plain(authorities);
  const after = { ...document, authorities };
  const standbys = authorities.filter((each) => isStandby(each, record.kind, after, now));
  const ready = standbys.find((each) => readyFrom(each, after, timing) <= now && isSeen(each, shown));
  if (ready) {
    return plain(makeActive(ready, authorities), [`authority ${ready.id} was ready and signs in its place`]);
  }
  const [next] = standbys;
  const remedy = next
    ? `authority ${next.id} is ready from ${rfc3339(Math.ceil(readyFrom(next, after, timing)))} on: ` +
      `\`kubespiffe ca activate ${next.id}\``
    : 'prepare another one with `kubespiffe ca prepare`';
  return plain(authorities, [`nothing signs in its place now; ${remedy}`]);
}

/** A mark that was wrong is taken back. What was tainted never signs again, as its key may still be stolen. */
function untaint(record: AuthorityRecord, document: PoolDocument): Step | Refusal {
  if (!record.tainted) return refuse(`authority ${record.id} is not tainted`, 'nothing is to be done');
  const mayStillSign = record.state !== 'retiring';
  const authorities = document.authorities.map((each): AuthorityRecord => {
    if (each !== record) return each;
    return { ...each, tainted: false, state: mayStillSign ? 'retiring' : each.state };
  });
  return plain(
    authorities,
    mayStillSign ? [`authority ${record.id} is retiring from now on: it never signs again`] : [],
  );
}

function withState(
  { authorities }: PoolDocument,
  record: AuthorityRecord,
  state: AuthorityState,
): readonly AuthorityRecord[] {
  return authorities.map((each) => (each === record ? { ...each, state } : each));
}

function plain(authorities: readonly AuthorityRecord[], notes: readonly string[] = []): Step {
  return { ok: true, authorities, consequence: undefined, notes };
}

/** The authorities that are not the same in both, in the order of the pool. */
export function changesBetween(before: PoolDocument, after: PoolDocument): Change['changed'] {
  const words = ({ state, tainted, request }: AuthorityRecord) =>
    `${state}${tainted ? ', tainted' : ''}${request === undefined ? '' : ', waits for its certificate'}`;
  const from = new Map(before.authorities.map((each) => [each.id, words(each)]));
  const to = new Map(after.authorities.map((each) => [each.id, words(each)]));
  return [...new Set([...from.keys(), ...to.keys()])]
    .map((id) => ({ id, from: from.get(id), to: to.get(id) }))
    .filter((each) => each.from !== each.to);
}

function refuse(what: string, remedy: string): Refusal {
  return { ok: false, what, remedy };
}

function wrongState(verb: Verb, { id, state }: AuthorityRecord): Refusal {
  const from = verbs[verb].join(' or ');
  const remedy = nextVerbs[state].map((next) => `\`kubespiffe ca ${next} ${id}\``).join(' or ');
  return refuse(
    `authority ${id} is ${state}, and ${verb} is for one that is ${from}`,
    remedy === '' ? 'nothing comes back from there; prepare another one' : `from ${state} comes ${remedy}`,
  );
}

const nextVerbs: Readonly<Record<AuthorityState, readonly Verb[]>> = {
  prepared: ['preview', 'trust'],
  preview: ['trust', 'remove'],
  trusted: ['activate'],
  active: ['taint'],
  retiring: ['retire'],
  retired: ['remove'],
};
