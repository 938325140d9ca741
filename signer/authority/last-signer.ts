import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import type { AuthorityKind } from './states.ts';

/**
 * The authority of a kind that signs, or that signed last: the next one should be like it.
 *
 * @returns undefined if the pool does not say that one of the kind has signed.
 */
export function lastSigner(
  { authorities }: Pick<PoolDocument, 'authorities'>,
  kind: AuthorityKind,
): AuthorityRecord | undefined {
  const ofKind = authorities.filter((each) => each.kind === kind);
  const [last] = ofKind.filter(hasSigned).toSorted((a, b) => timeOf(b) - timeOf(a));
  return ofKind.find(({ state }) => state === 'active') ?? last;
}

/** Roots that were brought in without a key have `deactivatedAt` too. */
function hasSigned(record: AuthorityRecord): boolean {
  return record.activatedAt !== undefined || (record.deactivatedAt !== undefined && hasKey(record));
}

function timeOf({ activatedAt, deactivatedAt = '' }: AuthorityRecord): number {
  return Date.parse(activatedAt ?? deactivatedAt);
}
