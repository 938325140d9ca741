import type { Seconds } from '../../spiffe/pki/time.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { readyFrom } from './ready.ts';
import { type AuthorityKind, type AuthorityState, isJwtKind, isPublished } from './states.ts';
import { endOf, neededUntil } from './transitions.ts';
import type { Timing } from './verbs.ts';

/** What happened to an authority, or will. `at` is in seconds since the epoch, infinite where it is not known. */
export interface HistoryEntry {
  readonly what: string;
  readonly at: Seconds;
}

export interface AuthorityHistory {
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  readonly tainted: boolean;
  /** From when on it may sign; null for one that is in no live bundle. */
  readonly readyFrom: Seconds | null;
  /** Until when something that it signed may be valid; null where that is not known, or it is in no live bundle. */
  readonly neededUntil: Seconds | null;
  /** In the order of time. */
  readonly timeline: readonly HistoryEntry[];
}

/** The life of one authority, as far as the pool has recorded it, and what is certain to come. */
export function authorityHistory(
  record: AuthorityRecord,
  document: PoolDocument,
  { now, timing }: { readonly now: Seconds; readonly timing: Timing },
): AuthorityHistory {
  const { id, kind, state, tainted } = record;
  const isLive = isPublished(state);
  const ready = isLive ? readyFrom(record, document, timing) : undefined;
  const needed = isLive && state !== 'active' ? neededUntil(record, document, now, timing) : undefined;
  const end = endOf(record, document.trustDomain);
  const lastEnds = record.activatedAt === undefined ? undefined : timing.mayHaveSignedUntil?.(record);
  const recorded = [
    ['made', record.createdAt],
    ['in preview', record.previewedAt],
    ['verified in preview', record.verifiedAt],
    ['published', record.publishedAt],
    ['signs', record.activatedAt],
    ['no longer signs', record.deactivatedAt],
  ] as const;
  const timeline = [
    ...recorded.flatMap(([what, at]) => (at === undefined ? [] : [{ what, at: Date.parse(at) / 1000 }])),
    ...(state === 'trusted' && ready !== undefined && ready > 0
      ? [{ what: 'may be activated', at: ready }]
      : []),
    ...(state === 'retiring' && needed !== undefined
      ? [{ what: 'may be retired', at: Math.max(needed, 0) }]
      : []),
    // What an authority that signs has signed so far may have ended long ago, or be nothing: the next one is not far.
    ...(lastEnds === undefined || (state === 'active' && lastEnds <= now)
      ? []
      : [{ what: `its last ${signed(kind)} ends, at the latest`, at: lastEnds }]),
    ...(end === undefined ? [] : [{ what: 'its certificate ends', at: end }]),
  ];
  return {
    id,
    kind,
    state,
    tainted,
    readyFrom: ready ?? null,
    neededUntil: needed !== undefined && Number.isFinite(needed) ? needed : null,
    timeline: timeline.toSorted((a, b) => a.at - b.at),
  };
}

/** What depends on an authority. For one that signs, the last one so far. */
const signed = (kind: AuthorityKind): string => (isJwtKind(kind) ? 'token' : 'certificate');
