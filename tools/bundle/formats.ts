import type { KeyObject } from 'node:crypto';
import { parseJwks, parseSpiffeBundle, printJwks } from '../../spiffe/bundle.ts';
import { isJsonObject, parseJsonObject } from '../../spiffe/json.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { type JwtAlgorithmName, jwtAlgorithms, keyFitsAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { failure, type Result } from '../../spiffe/pki/result.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { certificatesOf } from '../inspect/pem.ts';

export const bundleFormats = ['spiffe', 'jwks', 'pem'] as const;
export type BundleFormat = (typeof bundleFormats)[number];

/** Verifies SVIDs; read from any format. */
export interface TrustMaterial {
  readonly roots: readonly CertificateFacts[];
  readonly jwtKeys: ReadonlyMap<string, KeyObject>;
  /** The keys that were left out, each with its place and the reason. */
  readonly ignored: readonly string[];
}

/**
 * What a bundle is written in: PEM, or JSON, which is a SPIFFE bundle where it says so by a member of the standard
 * or the use of a key.
 */
export function formatOf(text: string): BundleFormat {
  if (text.includes('-----BEGIN ')) return 'pem';
  const read = parseJsonObject(text, 'the bundle');
  // Its reader then says what is wrong.
  if (!read.ok) return 'spiffe';
  const { value } = read;
  const keys: unknown[] = Array.isArray(value.keys) ? value.keys : [];
  const uses = keys.filter(isJsonObject).map(({ use }) => use);
  const saysSo = 'spiffe_sequence' in value || 'spiffe_refresh_hint' in value;
  return saysSo || uses.includes('x509-svid') || uses.includes('jwt-svid') ? 'spiffe' : 'jwks';
}

/** Reads a bundle of any of the three formats. */
export function readTrustMaterial(content: Buffer): Result<TrustMaterial> {
  const text = textOf(content);
  switch (formatOf(text)) {
    case 'pem': {
      const roots = certificatesOf(content);
      return roots.length > 0
        ? { ok: true, value: { roots, jwtKeys: new Map(), ignored: [] } }
        : failure('it contains no root');
    }
    case 'jwks': {
      const read = parseJwks(text);
      return read.ok ? { ok: true, value: { roots: [], ...read.value } } : read;
    }
    case 'spiffe':
      return parseSpiffeBundle(text);
  }
}

/** JWK set of the JWT keys; alg is said where the key leaves no choice, which RSA does. */
export function jwksOf(material: TrustMaterial): string {
  return printJwks(
    [...material.jwtKeys].map(([kid, key]) => ({
      kid,
      jwk: publicJwkOf(key),
      algorithm: soleAlgorithmOf(key),
    })),
  );
}

function soleAlgorithmOf(key: KeyObject): JwtAlgorithmName | undefined {
  const names = Object.keys(jwtAlgorithms) as JwtAlgorithmName[];
  const fitting = names.filter((name) => keyFitsAlgorithm(key, name));
  return fitting.length === 1 ? fitting[0] : undefined;
}
