import { constants, type webcrypto } from 'node:crypto';
import { type Curve, p256, p384, p521 } from './curve.ts';
import { contextTag, tags } from './der.ts';
import { derNull, encode, objectIdentifier, sequence } from './der-writer.ts';
import { nameOfOid, oids } from './oid.ts';

type Digest = 'sha256' | 'sha384' | 'sha512';

/** How signatures are made and verified, in certificates and in JWTs. */
export interface SignatureAlgorithm {
  /** For people, as in certificates: "ecdsa-with-SHA256". */
  readonly name: string;
  /** Type of the keys, as KeyObjects name it. */
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  /** null where the algorithm brings its own. */
  readonly digest: Digest | null;
  /** What node:crypto needs for RSASSA-PSS, with a salt as long as the digest (RFC 7518 3.5, RFC 4055 3.1). */
  readonly pss?: { readonly padding: number; readonly saltLength: number };
  /** EC in JWTs only: RFC 7518 3.4 ties each algorithm to one curve. Certificates do not. */
  readonly curve?: Curve;
  /** Every AlgorithmIdentifier (DER) for it, the one that we write first. */
  readonly encodings: readonly [Uint8Array, ...Uint8Array[]];
}

const algorithm = (oid: string, parameters: Uint8Array = new Uint8Array()): Uint8Array =>
  sequence(objectIdentifier(oid), parameters);

/** Without parameters (RFC 5758 3.2). */
const ecdsa = (digest: Digest, oid: string, curve: Curve): SignatureAlgorithm => ({
  name: nameOfOid(oid),
  keyType: 'ec',
  digest,
  curve,
  encodings: [algorithm(oid)],
});

/** Parameters are NULL or absent (RFC 4055 5). */
const rsassa = (digest: Digest, oid: string): SignatureAlgorithm => ({
  name: nameOfOid(oid),
  keyType: 'rsa',
  digest,
  encodings: [algorithm(oid, derNull), algorithm(oid)],
});

/** MGF1 with the same hash, and a salt as long as the hash (RFC 4055 3.1). */
const rsassaPss = (digest: Digest, octets: number): SignatureAlgorithm => {
  const encoding = (parameters: Uint8Array) => {
    const hash = algorithm(oids[digest], parameters);
    const fields = [hash, algorithm(oids.mgf1, hash), encode(tags.integer, Uint8Array.of(octets))];
    const numbered = fields.map((field, number) => encode(contextTag(number), field));
    return algorithm(oids.rsassaPss, sequence(...numbered));
  };
  return {
    name: `RSASSA-PSS with ${digest}`,
    keyType: 'rsa',
    digest,
    pss: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
    encodings: [encoding(derNull), encoding(new Uint8Array())],
  };
};

/** By the name of JWTs (RFC 7518 3.1, RFC 8037 3.1). SHA-1 and MD5 are not used. */
export const signatureAlgorithms = {
  ES256: ecdsa('sha256', oids.ecdsaWithSha256, p256),
  ES384: ecdsa('sha384', oids.ecdsaWithSha384, p384),
  ES512: ecdsa('sha512', oids.ecdsaWithSha512, p521),
  RS256: rsassa('sha256', oids.sha256WithRsa),
  RS384: rsassa('sha384', oids.sha384WithRsa),
  RS512: rsassa('sha512', oids.sha512WithRsa),
  PS256: rsassaPss('sha256', 32),
  PS384: rsassaPss('sha384', 48),
  PS512: rsassaPss('sha512', 64),
  /** Without parameters (RFC 8410 3). */
  EdDSA: { name: 'Ed25519', keyType: 'ed25519', digest: null, encodings: [algorithm(oids.ed25519)] },
} satisfies Record<string, SignatureAlgorithm>;

/** One type of key. Workloads may have each of them: they are those that KEP-4317 lets kubelet generate. */
export type KeyType = {
  /** For people. */
  readonly name: string;
  /** Value of keyType in a podCertificate source. */
  readonly kubernetes: string;
  /**
   * AlgorithmIdentifier of a public key, DER. Each type has one encoding only (RFC 3279 2.3.1: RSA with NULL; RFC 5480
   * 2.1.1: named curves; RFC 8410 3: Ed25519 without parameters).
   */
  readonly algorithmDer: Uint8Array;
  readonly webcrypto: webcrypto.Algorithm | webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams;
  /** What an authority with such a key signs certificates with. */
  readonly signature: SignatureAlgorithm;
  /** Fast signatures (about 20 µs) are made on the calling thread: a trip to the thread pool costs more. */
  readonly inline: boolean;
} & (
  | { readonly family: 'EC'; readonly curve: Curve }
  | { readonly family: 'RSA'; readonly bits: number }
  | { readonly family: 'Ed25519' }
);

const ec = (curve: Curve, kubernetes: string, signature: SignatureAlgorithm, inline: boolean): KeyType => ({
  family: 'EC',
  name: `ECDSA ${curve.name}`,
  kubernetes,
  curve,
  algorithmDer: algorithm(oids.ecPublicKey, objectIdentifier(curve.oid)),
  webcrypto: {
    name: 'ECDSA',
    namedCurve: curve.name,
    hash: `SHA-${signature.digest?.slice('sha'.length)}`,
  },
  signature,
  inline,
});

const rsa = (bits: number): KeyType => ({
  family: 'RSA',
  name: `RSA ${bits}`,
  kubernetes: `RSA${bits}`,
  bits,
  algorithmDer: algorithm(oids.rsaEncryption, derNull),
  webcrypto: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: bits,
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: 'SHA-256',
  },
  signature: signatureAlgorithms.RS256,
  inline: false,
});

/** By the name in commands, in the order in which messages list them; the default and most frequent first. */
export const keyTypes = {
  'ecdsa-p256': ec(p256, 'ECDSAP256', signatureAlgorithms.ES256, true),
  'ecdsa-p384': ec(p384, 'ECDSAP384', signatureAlgorithms.ES384, false),
  'ecdsa-p521': ec(p521, 'ECDSAP521', signatureAlgorithms.ES512, false),
  ed25519: {
    family: 'Ed25519',
    name: 'Ed25519',
    kubernetes: 'ED25519',
    algorithmDer: algorithm(oids.ed25519),
    webcrypto: { name: 'Ed25519' },
    signature: signatureAlgorithms.EdDSA,
    inline: true,
  },
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
} satisfies Record<string, KeyType>;

export type KeyTypeName = keyof typeof keyTypes;

/** Every type of key that a certificate may be made for. */
export const subjectKeyTypes: readonly KeyType[] = Object.values(keyTypes);

/** The types of key that an authority may have, the default first. */
export const authorityKeyTypes = [
  'ecdsa-p256',
  'ecdsa-p384',
  'rsa-3072',
  'rsa-4096',
  'ed25519',
] as const satisfies readonly KeyTypeName[];

export type AuthorityKeyType = (typeof authorityKeyTypes)[number];
