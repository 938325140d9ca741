import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import type { AuthorityKeyType } from '../../spiffe/pki/algorithms.ts';
import type { Terminal } from '../terminal.ts';
import { type KeyRefOptions, withNewKey } from './key-ref.ts';
import { type ChangeOptions, changePool } from './pool-change.ts';

/** The options of the commands that make a new authority in a pool. */
export interface NewAuthorityOptions extends ChangeOptions, KeyRefOptions {
  caId?: string;
  keyType?: AuthorityKeyType;
}

/** Makes an authority in a pool, with the key outside of the pool that the options name, or with a new one. */
export function prepareInPool(
  terminal: Terminal,
  options: NewAuthorityOptions,
  wanted: Omit<Parameters<typeof prepareAuthority>[1], 'now' | 'key' | 'keyType' | 'id'>,
): ReturnType<typeof changePool> {
  const { caId, keyType } = options;
  return withNewKey(options, terminal.env, (key) =>
    changePool(options, terminal, (document, { now }) =>
      prepareAuthority(document, {
        ...{ ...wanted, now },
        ...(key && { key }),
        ...(keyType && { keyType }),
        ...(caId !== undefined && { id: caId }),
      }),
    ),
  );
}

/** The authority of a pool that waits for its certificate: the one that the options name, or the first. */
export function requestIn(
  { authorities }: PoolDocument,
  { caId }: NewAuthorityOptions,
): AuthorityRecord | undefined {
  return authorities.find(({ id, request }) => request !== undefined && (caId === undefined || id === caId));
}
