import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import type { Sequence as Asn1Sequence } from 'asn1js';
import { type AuthorityKeyType, authorityKeyTypes, keyTypes } from '../../spiffe/pki/algorithms.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { authorityKeyType } from '../../spiffe/pki/sign.ts';
import type { NewKey } from '../keys/new-key.ts';
import { generateCaKeys } from './ca-content.ts';
import type { AuthorityRecord } from './document.ts';

/** The key that a new CA gets. */
export interface WantedKey {
  readonly keyType?: AuthorityKeyType;
  /** A key outside of the pool instead of a new one. */
  readonly key?: NewKey;
}

/** The keys of a new CA. */
export interface CaKeys {
  readonly type: AuthorityKeyType;
  /** What a certificate or request is made with. The public half is that of the CA. */
  readonly pair: webcrypto.CryptoKeyPair;
  /** How the pool has the private key. */
  readonly record: Pick<AuthorityRecord, 'privateKey' | 'keyRef'>;
  /** @returns a certificate or request (DER) that `pair` has signed, with the signature of the CA's own key. */
  finish(signed: Uint8Array): Promise<Uint8Array>;
}

/** Makes the key of a new CA, or uses one that is kept outside of the pool. */
export async function caKeysOf({ key, keyType = 'ecdsa-p256' }: WantedKey): Promise<CaKeys> {
  const type = key ? typeOf(key) : keyType;
  const made = await generateCaKeys(type);
  if (!key) {
    const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', made.privateKey));
    const privateKey = encodePem('PRIVATE KEY', pkcs8);
    return { type, pair: made, record: { privateKey }, finish: async (signed) => signed };
  }
  const spki = key.publicKey.export({ format: 'der', type: 'spki' });
  const publicKey = await webcrypto.subtle.importKey('spki', spki, keyTypes[type].webcrypto, true, [
    'verify',
  ]);
  return {
    type,
    // What is made is signed with a key for this moment first: the library takes no keys that others keep.
    pair: { ...made, publicKey },
    record: { keyRef: key.keyRef },
    async finish(signed) {
      // RFC 5280 4.1 and RFC 2986 4.2: what is signed, the algorithm, the signature.
      const { BitString, fromBER, Sequence } = await import('asn1js');
      const { result } = fromBER(signed) as { result: Asn1Sequence };
      const [content, algorithm] = result.valueBlock.value as [Asn1Sequence, Asn1Sequence];
      const signature = new BitString({ valueHex: await key.sign(content.valueBeforeDecodeView) });
      return new Uint8Array(new Sequence({ value: [content, algorithm, signature] }).toBER());
    },
  };
}

function typeOf({ publicKey }: NewKey): AuthorityKeyType {
  const type = authorityKeyType(publicKey);
  return authorityKeyTypes.find((name) => keyTypes[name] === type) ?? 'rsa-3072';
}
