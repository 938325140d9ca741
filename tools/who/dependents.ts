import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { isJwtKind } from '../../signer/authority/states.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { ClusterOptions } from '../api.ts';
import { placeOf } from '../cluster/identities.ts';
import type { ChangeFacts } from '../pool/pool-change.ts';
import type { Terminal } from '../terminal.ts';
import type { AuthorityHolders } from './authority.ts';
import { readHolders } from './read-holders.ts';

/**
 * Who still depends on an authority, as sentences: its pods by namespace, those of which it is not known, and the latest
 * end of anything it signed. Without the right to list them that is said.
 */
export async function dependentsOf(
  options: ClusterOptions,
  terminal: Terminal,
  id: string,
  { document, facts }: { readonly document: PoolDocument; readonly facts: ChangeFacts },
): Promise<readonly string[]> {
  const record = document.authorities.find((each) => each.id === id);
  if (!record) return [];
  if (isJwtKind(record.kind)) return [latestEnd(record, 'token', facts)];
  const { trustDomain } = document;
  try {
    const read = await readHolders(options, terminal, record, { trustDomain, now: facts.now });
    return [...(read ? describeHolders(id, read.report) : []), latestEnd(record, 'certificate', facts)];
  } catch (error) {
    const why = `the pods that hold certificates of ${id} cannot be listed: ${printable(messageOf(error))}`;
    return [why, latestEnd(record, 'certificate', facts)];
  }
}

/** The pods by namespace, the namespace with the most pods first. Pure. */
function describeHolders(id: string, { holders, unknown }: AuthorityHolders): string[] {
  const known = count(holders.map(({ namespace, pod }) => `${namespace}/${pod}`));
  const lines =
    known === ''
      ? [`no pod is known to hold a certificate of ${id}`]
      : [`pods that hold certificates of ${id}: ${known}`];
  const rest = count(unknown);
  return rest === ''
    ? lines
    : [...lines, `pods whose certificates may be of ${id}, since their requests were deleted: ${rest}`];
}

/** @param pods `namespace/name`, which may repeat. */
function count(pods: readonly string[]): string {
  return [...Map.groupBy(new Set(pods), (pod) => placeOf(pod).namespace)]
    .toSorted(([, a], [, b]) => b.length - a.length)
    .map(([namespace, own]) => `${own.length} in ${printable(namespace)}`)
    .join(', ');
}

function latestEnd(record: AuthorityRecord, what: string, { timing }: ChangeFacts): string {
  const until = timing.mayHaveSignedUntil?.(record);
  return until === undefined
    ? `the record of the pool does not say when the last ${what} of ${record.id} ends`
    : `the last ${what} of ${record.id} ends at ${rfc3339(until)} at the latest`;
}
