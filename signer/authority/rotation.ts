import type { Seconds } from '../../spiffe/pki/time.ts';
import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import { isSigning, readyFrom, standbys, type Timing } from './ready.ts';
import type { AuthorityKind } from './states.ts';
import { neededUntil } from './transitions.ts';

/** What a rotation does next: make a new authority, change one, wait, or nothing. */
export type RotationStep =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'change'; readonly verb: 'trust' | 'activate' | 'retire'; readonly id: string }
  | {
      readonly kind: 'wait';
      readonly for: 'activate' | 'retire';
      readonly id: string;
      readonly until: Seconds;
    };

/**
 * The next step of a rotation of one kind, from what the pool says: a rotation that was interrupted anywhere goes on where
 * it was. What an earlier rotation left behind is retired before a new one begins, unless nothing signs.
 *
 * @param now seconds since the epoch.
 */
export function nextStep(
  document: PoolDocument,
  kind: AuthorityKind,
  { now, timing }: { readonly now: Seconds; readonly timing: Timing },
): RotationStep {
  const ofKind = document.authorities.filter((each) => each.kind === kind);
  const [standby] = standbys(kind, document, now, timing);
  if (standby) {
    const until = readyFrom(standby, document, timing);
    return until <= now
      ? { kind: 'change', verb: 'activate', id: standby.id }
      : { kind: 'wait', for: 'activate', id: standby.id, until };
  }
  const unpublished = ofKind.find(isUnpublished);
  if (unpublished) return { kind: 'change', verb: 'trust', id: unpublished.id };
  const [old] = ofKind
    .filter(({ state }) => state === 'retiring' && isSigning(kind, document, now))
    .map((each) => ({ id: each.id, until: neededUntil(each, document, now, timing) }))
    .toSorted((a, b) => a.until - b.until);
  if (!old) return { kind: 'prepare' };
  return old.until <= now
    ? { kind: 'change', verb: 'retire', id: old.id }
    : { kind: 'wait', for: 'retire', id: old.id, until: old.until };
}

/** Whether an authority could be published, to sign later. */
export function isUnpublished(record: AuthorityRecord): boolean {
  const { state, tainted, request } = record;
  const isComplete = hasKey(record) && request === undefined;
  return (state === 'prepared' || state === 'preview') && !tainted && isComplete;
}
