import type { Seconds } from '../../spiffe/pki/time.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { readyFrom, type Timing } from './ready.ts';
import { type AuthorityKind, isJwtKind, isPublished } from './states.ts';
import { endOf, neededUntil } from './transitions.ts';

/** What happened to an authority, or will. `at` is in seconds since the epoch, infinite where it is not known. */
export interface HistoryEntry {
  readonly what: string;
  readonly at: Seconds;
}

export type AuthorityHistory = ReturnType<typeof authorityHistory>;

/** The life of one authority: what the pool has recorded of it, and what is certain to come. */
export function authorityHistory(
  record: AuthorityRecord,
  document: PoolDocument,
  { now, timing }: { readonly now: Seconds; readonly timing: Timing },
) {
  const { id, kind, state, tainted } = record;
  const isLive = isPublished(state);
  const ready = isLive ? readyFrom(record, document, timing) : undefined;
  const needed = isLive && state !== 'active' ? neededUntil(record, document, now, timing) : undefined;
  const lastEnds = record.activatedAt === undefined ? undefined : timing.mayHaveSignedUntil?.(record);
  // What an authority that signs has signed so far may have ended long ago, or be nothing: the next one is not far.
  const isOver = state === 'active' && lastEnds !== undefined && lastEnds <= now;
  const recorded = [
    ['made', record.createdAt],
    ['in preview', record.previewedAt],
    ['verified in preview', record.verifiedAt],
    ['published', record.publishedAt],
    ['signs', record.activatedAt],
    ['no longer signs', record.deactivatedAt],
  ] as const;
  const coming = [
    ['may be activated', state === 'trusted' && ready !== undefined && ready > 0 ? ready : undefined],
    ['may be retired', state === 'retiring' && needed !== undefined ? Math.max(needed, 0) : undefined],
    [`its last ${signed(kind)} ends, at the latest`, isOver ? undefined : lastEnds],
    ['its certificate ends', endOf(record, document.trustDomain)],
  ] as const;
  const timeline = [
    ...recorded.map(([what, at]) => [what, at === undefined ? undefined : Date.parse(at) / 1000] as const),
    ...coming,
  ].flatMap(([what, at]): HistoryEntry[] => (at === undefined ? [] : [{ what, at }]));
  return {
    id,
    kind,
    state,
    tainted,
    /** From when on it may sign; null for one that is in no live bundle. */
    readyFrom: ready ?? null,
    /** Until when something that it signed may be valid; null where that is not known, or it is in no live bundle. */
    neededUntil: needed !== undefined && Number.isFinite(needed) ? needed : null,
    /** In the order of time. */
    timeline: timeline.toSorted((a, b) => a.at - b.at),
  };
}

/** What depends on an authority. For one that signs, the last one so far. */
const signed = (kind: AuthorityKind): string => (isJwtKind(kind) ? 'token' : 'certificate');
