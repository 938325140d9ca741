import { sign } from 'node:crypto';
import { contextTag, tags } from '../../../spiffe/pki/der.ts';
import { bitString, derNull, encode, objectIdentifier, sequence } from '../../../spiffe/pki/der-writer.ts';
import type { TestKey } from './keys.ts';

const version0 = encode(tags.integer, Uint8Array.of(0));
const emptyName = sequence();
const noAttributes = encode(contextTag(0));

/** Signature algorithm and digest of a PKCS#10 request, as kubelet chooses them. */
const requestAlgorithms: Readonly<Record<string, { der: Buffer; digest: string | null }>> = {
  'ECDSA P-256': { der: sequence(objectIdentifier('1.2.840.10045.4.3.2')), digest: 'sha256' },
  'ECDSA P-384': { der: sequence(objectIdentifier('1.2.840.10045.4.3.3')), digest: 'sha384' },
  'ECDSA P-521': { der: sequence(objectIdentifier('1.2.840.10045.4.3.4')), digest: 'sha512' },
  Ed25519: { der: sequence(objectIdentifier('1.3.101.112')), digest: null },
  'RSA 3072': { der: sequence(objectIdentifier('1.2.840.113549.1.1.11'), derNull), digest: 'sha256' },
  'RSA 4096': { der: sequence(objectIdentifier('1.2.840.113549.1.1.11'), derNull), digest: 'sha256' },
};

/** A request as kubelet sends it: empty subject, no attributes, signed by its own key. */
export function stubRequest(key: TestKey): Buffer {
  const algorithm = requestAlgorithms[key.name];
  if (!algorithm) throw new Error(`no request algorithm for ${key.name}`);
  const info = sequence(version0, emptyName, key.spki, noAttributes);
  return sequence(info, algorithm.der, bitString(sign(algorithm.digest, info, key.privateKey)));
}

/** A request around any octets said to be a key; its signature is worthless. */
export function requestAround(spki: Uint8Array): Buffer {
  const info = sequence(version0, emptyName, spki, noAttributes);
  return sequence(info, sequence(objectIdentifier('1.2.840.10045.4.3.2')), bitString(Buffer.alloc(8)));
}
