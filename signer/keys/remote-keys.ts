import { hash, type KeyObject } from 'node:crypto';
import type { KeyType } from '../../spiffe/pki/algorithms.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { SigningKey } from '../../spiffe/pki/sign.ts';
import { pauseWith } from '../kube/time.ts';
import { type KeyRef, parseKeyRef } from './key-ref.ts';
import { createRemoteKey, type RemoteKey, type RemoteKeyNeeds } from './remote-key.ts';

/** How a key that is named by reference signs. Pools are read with it; who only reads them needs none of the keys. */
export type KeysByRef = (
  ref: KeyRef,
  publicKey: KeyObject,
  type: Pick<KeyType, 'signature'>,
  /** Whether it is to be opened now: its authority signs, or may have to soon. */
  isWanted: boolean,
) => SigningKey;

/** For programs that read pools and sign nothing. */
export const keysOfReaders: KeysByRef = (ref, _publicKey, { signature }) => ({
  algorithmDer: signature.encodings[0],
  sign: () => Promise.reject(new Error(`this program does not use the key ${ref.uri}`)),
});

/**
 * The key that an authority names by reference. Where the authority signs or may have to soon, it is opened as soon as the pool
 * is read. One that then is not asked for, such as that of a CA in reserve, is closed again, and opened when it has to sign.
 *
 * @param publicKey of its certificate, or the JWT key itself.
 */
export function keyOfRecord(
  {
    keyRef = '',
    state,
    tainted,
  }: { readonly keyRef?: string; readonly state: string; readonly tainted: boolean },
  publicKey: KeyObject,
  type: Pick<KeyType, 'signature' | 'name'>,
  keysByRef: KeysByRef,
): Result<SigningKey> {
  const ref = parseKeyRef(keyRef);
  if (!ref.ok) return ref;
  if (type.signature.digest === null) {
    return failure(`is for a key of type ${type.name}, and only keys in the pool may be; use ECDSA or RSA`);
  }
  const isWanted = !tainted && (state === 'active' || state === 'trusted');
  return success(keysByRef(ref.value, publicKey, type, isWanted));
}

const tendEveryMs = 500;

/** The keys outside of the pool that a replica uses. Pools that are read again get the keys that are open already. */
export function createRemoteKeys(needs: RemoteKeyNeeds) {
  const keys = new Map<string, RemoteKey>();
  const pause = pauseWith(needs.time.timer);
  const keysByRef: KeysByRef = (ref, publicKey, type, isWanted) => {
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const name = `${ref.uri} ${hash('sha256', spki)}`;
    const key = keys.get(name) ?? createRemoteKey(ref, publicKey, type, needs);
    keys.set(name, key);
    if (isWanted) key.problem();
    return key;
  };
  return {
    keysByRef,
    /** Opens keys, looks after them, and closes them at the end. */
    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        for (const key of keys.values()) void key.tend();
        await pause(tendEveryMs, signal);
      }
      for (const key of keys.values()) key.close();
    },
  };
}
