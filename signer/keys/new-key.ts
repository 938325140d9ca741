import { hash, type KeyObject, randomBytes, verify } from 'node:crypto';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { keyTypes, type SignatureAlgorithm } from '../../spiffe/pki/algorithms.ts';
import { nameOfKey } from '../../spiffe/pki/sign.ts';
import { type KeyRef, parseKeyRef } from './key-ref.ts';
import type { Opener } from './open-key.ts';
import type { KeysByRef } from './remote-keys.ts';

/** A key outside of the pool that a command signs with. */
export interface NewKey {
  readonly keyRef: string;
  readonly publicKey: KeyObject;
  /** The content of the signature BIT STRING. */
  sign(content: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

/** For reading an authority that has this key. @throws KubespiffeError KEY_UNAVAILABLE where its certificate is for another one. */
export function keysOf(key: NewKey): KeysByRef {
  return ({ uri }, publicKey, { signature }) => {
    if (!key.publicKey.equals(publicKey)) {
      throw new KubespiffeError('KEY_UNAVAILABLE', `${uri} is another key than that of the certificate`);
    }
    return { algorithmDer: signature.encodings[0], sign: key.sign };
  };
}

/** By the name of a key, without the length of RSA. */
const algorithms: Readonly<Record<string, SignatureAlgorithm>> = {
  'ECDSA P-256': keyTypes['ecdsa-p256'].signature,
  'ECDSA P-384': keyTypes['ecdsa-p384'].signature,
  RSA: keyTypes['rsa-3072'].signature,
};

/**
 * Opens a key that a new authority is to have, and makes sure that it signs.
 *
 * @throws KubespiffeError USAGE for what is no reference, KEY_UNSUPPORTED for its type, KEY_UNAVAILABLE otherwise.
 */
export async function openNewKey(uri: string, openerFor: (ref: KeyRef) => Opener): Promise<NewKey> {
  const ref = parseKeyRef(uri);
  if (!ref.ok) throw new KubespiffeError('USAGE', `the reference to the key ${ref.reason}`);
  const signal = new AbortController().signal;
  const open = await openerFor(ref.value)(ref.value, signal).catch((error: unknown) => {
    throw new KubespiffeError('KEY_UNAVAILABLE', `${uri}: ${messageOf(error)}`);
  });
  try {
    const publicKey = await open.publicKey();
    const algorithm = algorithms[nameOfKey(publicKey).replace(/ \d+$/, '')];
    const digest = algorithm?.digest;
    if (!algorithm || !digest) {
      const what = `${uri} is a key of type ${nameOfKey(publicKey)}; use ECDSA P-256, ECDSA P-384 or RSA`;
      throw new KubespiffeError('KEY_UNSUPPORTED', what);
    }
    const sign = (content: Uint8Array) => open.sign(hash(digest, content, 'buffer'), algorithm);
    const trial = randomBytes(32);
    if (!verify(digest, trial, publicKey, await sign(trial))) {
      throw new Error('its signature does not verify with the public key beside it');
    }
    return { keyRef: uri, publicKey, sign, close: open.close };
  } catch (error) {
    open.close();
    if (error instanceof KubespiffeError) throw error;
    throw new KubespiffeError('KEY_UNAVAILABLE', `${uri}: ${messageOf(error)}`);
  }
}
