import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type Change, changeOf, type Refusal, refusal, withAuthorities } from './change.ts';
import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import { keyOf, rootOf } from './material.ts';
import {
  isBelowStolen,
  isSeen,
  isStandby,
  readyFrom,
  type Shown,
  signedUntil,
  type Timing,
} from './ready.ts';
import { type AuthorityState, isJwtKind } from './states.ts';
import {
  dateTransitions,
  endOf,
  keepsRoot,
  makeActive,
  neededUntil,
  retireAuthority,
} from './transitions.ts';

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

interface Facts extends Shown {
  readonly now: Seconds;
  readonly timing: Timing;
}

/** What a verb makes of the authorities, before anything is dated. */
interface Step extends Partial<Pick<Change, 'consequence' | 'notes'>> {
  readonly ok: true;
  readonly authorities: readonly AuthorityRecord[];
}

/**
 * Applies one verb to one authority, at `now` in seconds since the epoch. Commands and the rotation change states by
 * verbs only. `ca restore` has no verb: it takes the states of two pools together. Neither has `ca doctor --repair`: what it
 * corrects cannot be read as a pool.
 */
export function applyVerb(document: PoolDocument, verb: Verb, id: string, facts: Facts): Change | Refusal {
  const record = document.authorities.find((each) => each.id === id);
  if (!record) {
    const ids = document.authorities.map((each) => each.id).join(', ');
    return refusal(`there is no authority ${id} in the pool`, `name one of ${ids}`);
  }
  const from: readonly AuthorityState[] = verbs[verb];
  if (!from.includes(record.state)) return wrongState(verb, record);
  const step = steps[verb](record, document, facts);
  if (!step.ok) return step;
  const { ok: _, authorities, ...more } = step;
  const raised = withAuthorities(document, authorities);
  const dated = dateTransitions(raised, { pool: document, roots: facts.published }, facts.now);
  return changeOf(document, dated, more);
}

/**
 * From when a verb is safe, in seconds since the epoch: infinity if that is not known.
 *
 * @returns undefined for a verb that never has to wait.
 */
export function safeFrom(
  verb: Verb,
  record: AuthorityRecord,
  document: PoolDocument,
  { now, timing }: { readonly now: Seconds; readonly timing: Timing },
): Seconds | undefined {
  if (verb === 'activate') return readyFrom(record, document, timing);
  if (verb === 'remove') return signedUntil(record, document, timing);
  return verb === 'retire' ? neededUntil(record, document, now, timing) : undefined;
}

const steps: Readonly<
  Record<Verb, (record: AuthorityRecord, document: PoolDocument, facts: Facts) => Step | Refusal>
> = {
  preview(record, document) {
    const step = publish(record, document, 'preview');
    if (!step.ok || !isJwtKind(record.kind)) return step;
    return refusal(
      `authority ${record.id} is a JWT key, and only roots have a preview bundle`,
      `publish it with \`kubespiffe ca trust ${record.id}\``,
    );
  },
  trust: (record, document) => publish(record, document, 'trusted'),
  activate,
  retire(record, document, { now, timing }) {
    const retired = retireAuthority(document, record.id, now, timing);
    if (!retired.ok) return retired;
    const { consequence } = retired;
    const { authorities } = retired.document;
    return { ok: true, authorities, consequence, notes: keptRootNotes(record, document) };
  },
  remove,
  taint,
  untaint,
};

function publish(
  record: AuthorityRecord,
  { authorities }: PoolDocument,
  state: AuthorityState,
): Step | Refusal {
  const { id } = record;
  if (record.request !== undefined) {
    return refusal(
      `authority ${id} waits for its certificate`,
      `have its request signed, and import the answer with \`kubespiffe ca import --request ${id}\``,
    );
  }
  if (record.tainted) {
    return refusal(
      `authority ${id} is tainted and must not be published`,
      `remove it with \`kubespiffe ca remove ${id}\`, and prepare another one`,
    );
  }
  return { ok: true, authorities: authorities.map((each) => (each === record ? { ...each, state } : each)) };
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
    return refusal(`authority ${id} is tainted and never signs again`, 'make another one active');
  }
  if (!hasKey(record)) {
    return refusal(`authority ${id} has no private key in the pool`, 'make one active that has its key');
  }
  if (isJwtKind(kind) && record.publishedAt === undefined) {
    const what = `the pool does not say since when the key of authority ${id} is published`;
    return refusal(what, 'prepare another one with `kubespiffe ca prepare`, or set publishedAt by hand');
  }
  if (!isSeen(record, shown)) {
    const what = isJwtKind(kind)
      ? `no signer has published the key of authority ${id} yet`
      : `the root of authority ${id} is not in the ClusterTrustBundle yet`;
    const remedy = 'wait until a signer has published it; its readiness says what prevents that';
    return { ...refusal(what, remedy), isPassing: true };
  }
  const from = readyFrom(record, document, timing);
  const below = isBelowStolen(record, document)
    ? `the root of authority ${id} is tainted: what is signed below it becomes invalid when that root leaves the bundles`
    : undefined;
  const early =
    from <= now
      ? undefined
      : `authority ${id} may sign from ${rfc3339(Math.ceil(from))} on, when every verifier can have it: ` +
        `until then no ${isJwtKind(kind) ? 'tokens' : 'certificates'} are signed`;
  return { ok: true, authorities: makeActive(record, document.authorities), consequence: below ?? early };
}

function remove(record: AuthorityRecord, document: PoolDocument, facts: Facts): Step | Refusal {
  const { published, timing, now } = facts;
  const root = rootOf(record);
  if (root !== undefined && published?.has(root) && !keepsRoot(record, document)) {
    const what = `the root of authority ${record.id} is still in the ClusterTrustBundle, and signers refuse a pool that lacks it`;
    return { ...refusal(what, 'wait until a signer has taken it out'), isPassing: true };
  }
  const authorities = document.authorities.filter((each) => each !== record);
  const until = signedUntil(record, document, timing);
  if (until <= now) return { ok: true, authorities };
  const consequence =
    `authority ${record.id} may have signed what is valid until ${rfc3339(Math.ceil(until))}: after this nothing in the pool ` +
    'says that its root must not come back';
  return { ok: true, authorities, consequence };
}

/** Each authority with the stolen key is tainted. Where another one is ready, it takes over at once. */
function taint(record: AuthorityRecord, document: PoolDocument, { now, timing, ...shown }: Facts): Step {
  const key = keyOf(record);
  const hasKey = (each: AuthorityRecord) => each === record || keyOf(each) === key;
  const authorities = document.authorities.map((each) => (hasKey(each) ? { ...each, tainted: true } : each));
  if (!document.authorities.some((each) => each.state === 'active' && hasKey(each))) {
    return { ok: true, authorities };
  }
  const after = { ...document, authorities };
  const standbys = authorities.filter((each) => isStandby(each, record.kind, after, now));
  const ready = standbys.find((each) => readyFrom(each, after, timing) <= now && isSeen(each, shown));
  if (ready) {
    const notes = [`authority ${ready.id} was ready and signs in its place`];
    return { ok: true, authorities: makeActive(ready, authorities), notes };
  }
  const [next] = standbys;
  const remedy = next
    ? `authority ${next.id} is ready from ${rfc3339(Math.ceil(readyFrom(next, after, timing)))} on: ` +
      `\`kubespiffe ca activate ${next.id}\``
    : 'prepare another one with `kubespiffe ca prepare`';
  return { ok: true, authorities, notes: [`nothing signs in its place now; ${remedy}`] };
}

/** A mark that was wrong is taken back. What was tainted never signs again, as its key may still be stolen. */
function untaint(record: AuthorityRecord, document: PoolDocument): Step | Refusal {
  if (!record.tainted) return refusal(`authority ${record.id} is not tainted`, 'nothing to do');
  const mayStillSign = record.state !== 'retiring';
  const authorities = document.authorities.map((each): AuthorityRecord => {
    if (each !== record) return each;
    return { ...each, tainted: false, state: mayStillSign ? 'retiring' : each.state };
  });
  const notes = mayStillSign ? [`authority ${record.id} is retiring from now on: it never signs again`] : [];
  return { ok: true, authorities, notes };
}

function wrongState(verb: Verb, { id, state, tainted }: AuthorityRecord): Refusal {
  const from = verbs[verb].join(' or ');
  const next = nextVerbs[state].map((each) => `\`kubespiffe ca ${each} ${id}\``).join(' or ');
  const ofActive = tainted
    ? 'it is tainted and never signs again: make another one active'
    : 'it is the active one of its kind; `kubespiffe ca status` shows what comes next';
  return refusal(
    `authority ${id} is ${state}, and ${verb} is for one that is ${from}`,
    next === '' ? ofActive : `${next} comes next`,
  );
}

/** What a rotation does next. Nothing comes after the active state by itself: another authority takes over. */
const nextVerbs: Readonly<Record<AuthorityState, readonly Verb[]>> = {
  prepared: ['preview', 'trust'],
  preview: ['trust', 'remove'],
  trusted: ['activate'],
  active: [],
  retiring: ['retire'],
  retired: ['remove'],
};
