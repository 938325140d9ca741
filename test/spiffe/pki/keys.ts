import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readSubjectKey, type SupportedKey } from '../../../spiffe/pki/spki.ts';

/** A key pair made at run time. Nothing here is ever written to the repository. */
export interface TestKey {
  readonly name: string;
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
}

const makers: Readonly<Record<string, () => { publicKey: KeyObject; privateKey: KeyObject }>> = {
  'ECDSA P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ECDSA P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'ECDSA P-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  Ed25519: () => generateKeyPairSync('ed25519'),
  'RSA 3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
  'RSA 4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }),
};

export type TestKeyName = 'ECDSA P-256' | 'ECDSA P-384' | 'ECDSA P-521' | 'Ed25519' | 'RSA 3072' | 'RSA 4096';

export const subjectKeyNames: readonly TestKeyName[] = [
  'ECDSA P-256',
  'ECDSA P-384',
  'ECDSA P-521',
  'Ed25519',
  'RSA 3072',
  'RSA 4096',
];

export function makeKey(name: TestKeyName): TestKey {
  const pair = makers[name]?.();
  if (!pair) throw new Error(`no maker for ${name}`);
  return { name, privateKey: pair.privateKey, spki: pair.publicKey.export({ type: 'spki', format: 'der' }) };
}

/** RSA keys take a second to make, so a test file makes one of each kind and keeps it. */
export function keyShelf(): (name: TestKeyName) => TestKey {
  const shelf = new Map<TestKeyName, TestKey>();
  return (name) => {
    const key = shelf.get(name) ?? makeKey(name);
    shelf.set(name, key);
    return key;
  };
}

/** PKCS#8 of an Ed25519 key, all but the 32 octets of the seed (RFC 8410 7). */
const ed25519Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

/** An Ed25519 key that is the same in every run: its seed is a hash of the label. For golden bytes only. */
export function fixedKey(label: string): KeyObject {
  const seed = createHash('sha256').update(label).digest();
  return createPrivateKey({ key: Buffer.concat([ed25519Prefix, seed]), format: 'der', type: 'pkcs8' });
}

/** Reads a key that must be supported. */
export function supportedKey(spki: Uint8Array): SupportedKey {
  const key = readSubjectKey(spki);
  if (key.kind !== 'supported') throw new Error(`not a supported key: ${JSON.stringify(key)}`);
  return key;
}
