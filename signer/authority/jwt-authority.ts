import { createPublicKey, type KeyObject } from 'node:crypto';
import { type PublicJwk, publicJwkOf, thumbprintOf } from '../../spiffe/jwk.ts';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { keyInMemory, nameOfKey, type SigningKey } from '../../spiffe/pki/sign.ts';
import { type KeysByRef, keyOfRecord, keysOfReaders } from '../keys/remote-keys.ts';
import { type AuthorityRecord, type CompiledAuthority, commonOf, hasKey } from './document.ts';
import { type PoolProblemReason, poolProblem, type Refusable } from './problem.ts';
import { readPrivateKey, readPublicKey } from './read-keys.ts';
import { isJwtKind, type JwtKind, jwtKinds } from './states.ts';

/** RFC 7518 3.3 demands 2048 bits; beyond 4096 a signature takes longer than a pod should wait. */
const rsaBits = { min: 2048, max: 4096 } as const;

/** A key of a pool that signs JWT-SVIDs, or verifies those that it signed. */
export interface JwtAuthority extends CompiledAuthority {
  readonly kind: JwtKind;
  readonly algorithm: JwtSigningAlgorithm;
  /** RFC 7638 thumbprint of the public key, so that it is the same on every replica and in every document. */
  readonly kid: string;
  /** An authority that does not sign may be without. */
  readonly signingKey: SigningKey | undefined;
  readonly publicKey: KeyObject;
  /** The public key, members of the key alone. */
  readonly jwk: PublicJwk;
}

/** How keys of an algorithm sign. The row of RSA holds for every length. */
const signs = { ES256: keyTypes['ecdsa-p256'], RS256: keyTypes['rsa-3072'] } as const;

/**
 * Reads the keys of one JWT record, and checks that they fit together and to the kind. Times are not checked.
 * `field` is where the record stands, such as `pool.authorities[1]`.
 */
export function readJwtAuthority(
  record: AuthorityRecord,
  field: string,
  keysByRef: KeysByRef = keysOfReaders,
): Refusable<{ authority: JwtAuthority }> {
  const { id, kind, state } = record;
  const refuse = (member: string, what: string, remedy: string, reason?: PoolProblemReason) =>
    ({
      ok: false,
      problem: poolProblem(reason ?? 'PoolMalformed', `${field}.${member}`, what, remedy),
    }) as const;
  const replace = 'correct the key, or put a copy back with `kubespiffe ca restore`';
  if (!isJwtKind(kind)) return refuse('kind', `is ${kind}, which cannot sign JWT-SVIDs`, replace);

  const privateKey = record.privateKey === undefined ? undefined : readPrivateKey(record.privateKey);
  if (privateKey?.ok === false) return refuse('privateKey', privateKey.reason, replace);
  if (!hasKey(record) && state === 'active') {
    return refuse('privateKey', 'is missing, and an active authority has to sign', replace);
  }
  const given = record.publicKey === undefined ? undefined : readPublicKey(record.publicKey);
  if (given?.ok === false) return refuse('publicKey', given.reason, replace);
  const publicKey = given?.value ?? (privateKey && createPublicKey(privateKey.value));
  if (!publicKey) return refuse('publicKey', 'is missing, and so is privateKey', replace);
  if (privateKey && !createPublicKey(privateKey.value).equals(publicKey)) {
    const remedy =
      'put the private key of that public key there, or put a copy back with `kubespiffe ca restore`';
    return refuse('privateKey', `does not belong to the publicKey of ${id}`, remedy, 'PoolKeyMismatch');
  }
  const algorithm = jwtKinds[kind];
  const problem = keyProblem(publicKey, algorithm);
  if (problem !== undefined) return refuse(privateKey ? 'privateKey' : 'publicKey', problem, replace);
  const elsewhere =
    record.keyRef === undefined ? undefined : keyOfRecord(record, publicKey, signs[algorithm], keysByRef);
  if (elsewhere?.ok === false) return refuse('keyRef', elsewhere.reason, replace);
  const jwk = publicJwkOf(publicKey);
  return {
    ok: true,
    authority: {
      ...commonOf(record, field, nameOfKey(publicKey)),
      kind,
      algorithm,
      kid: thumbprintOf(jwk),
      signingKey: privateKey ? keyInMemory(privateKey.value, signs[algorithm]) : elsewhere?.value,
      publicKey,
      jwk,
    },
  };
}

function keyProblem(key: KeyObject, algorithm: JwtSigningAlgorithm): string | undefined {
  const name = nameOfKey(key);
  if (algorithm === 'ES256')
    return name === 'ECDSA P-256' ? undefined : `is a key of type ${name}, not ECDSA P-256`;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const fits = key.asymmetricKeyType === 'rsa' && bits >= rsaBits.min && bits <= rsaBits.max;
  return fits ? undefined : `is a key of type ${name}, not RSA of ${rsaBits.min} to ${rsaBits.max} bits`;
}
