import type { Curve } from './curve.ts';
import { p256, p384, p521 } from './curve.ts';
import { derNull, objectIdentifier, sequence } from './der-writer.ts';
import { oids } from './oid.ts';

/** One kind of public key that a workload may have: what KEP-4317 lets kubelet generate. */
export type KeyType =
  | {
      readonly family: 'RSA';
      readonly name: 'RSA 3072' | 'RSA 4096';
      readonly kubernetes: 'RSA3072' | 'RSA4096';
      readonly bits: number;
    }
  | {
      readonly family: 'EC';
      readonly name: 'ECDSA P-256' | 'ECDSA P-384' | 'ECDSA P-521';
      readonly kubernetes: 'ECDSAP256' | 'ECDSAP384' | 'ECDSAP521';
      readonly curve: Curve;
    }
  | { readonly family: 'Ed25519'; readonly name: 'Ed25519'; readonly kubernetes: 'ED25519' };

const rsa3072: KeyType = { family: 'RSA', name: 'RSA 3072', kubernetes: 'RSA3072', bits: 3072 };
const rsa4096: KeyType = { family: 'RSA', name: 'RSA 4096', kubernetes: 'RSA4096', bits: 4096 };
const ecdsaP256: KeyType = { family: 'EC', name: 'ECDSA P-256', kubernetes: 'ECDSAP256', curve: p256 };
const ecdsaP384: KeyType = { family: 'EC', name: 'ECDSA P-384', kubernetes: 'ECDSAP384', curve: p384 };
const ecdsaP521: KeyType = { family: 'EC', name: 'ECDSA P-521', kubernetes: 'ECDSAP521', curve: p521 };
const ed25519: KeyType = { family: 'Ed25519', name: 'Ed25519', kubernetes: 'ED25519' };

/** Every supported subject key type, in the order in which messages list them. */
export const supportedSubjectKeys: readonly KeyType[] = [
  ecdsaP256,
  ecdsaP384,
  ecdsaP521,
  ed25519,
  rsa3072,
  rsa4096,
];

function ecAlgorithm(curveOid: string): Uint8Array {
  return sequence(objectIdentifier(oids.ecPublicKey), objectIdentifier(curveOid));
}

/**
 * AlgorithmIdentifier (DER) to the key types it can stand for. Each has one encoding only (RFC 3279 2.3.1: RSA
 * with NULL; RFC 5480 2.1.1: named curves; RFC 8410 3: Ed25519 without parameters), so whole elements are
 * compared and nothing is decoded for a key that we serve.
 */
export const subjectKeyAlgorithms: readonly { algorithmDer: Uint8Array; types: readonly KeyType[] }[] = [
  { algorithmDer: ecAlgorithm(oids.p256), types: [ecdsaP256] },
  { algorithmDer: sequence(objectIdentifier(oids.rsaEncryption), derNull), types: [rsa3072, rsa4096] },
  { algorithmDer: ecAlgorithm(oids.p384), types: [ecdsaP384] },
  { algorithmDer: ecAlgorithm(oids.p521), types: [ecdsaP521] },
  { algorithmDer: sequence(objectIdentifier(oids.ed25519)), types: [ed25519] },
];
