import { tags } from './der.ts';
import { encode, sequence } from './der-writer.ts';

/**
 * The two forms of an ECDSA signature: ECDSA-Sig-Value in DER, as in certificates (RFC 3279 2.2.3), and r‖s with both
 * numbers as long as the curve, as in JWTs, PKCS#11 and Azure Key Vault (RFC 7518 3.4).
 */

/**
 * r‖s of a P-256 signature in DER. dsaEncoding 'ieee-p1363' of node:crypto does the same, but doubled the cost of a
 * signature when measured. The lengths in such a signature are always one octet.
 */
export function joinedFromDer(der: Uint8Array): Uint8Array {
  const joined = new Uint8Array(64);
  const rLength = der[3] ?? 0;
  copyInteger(der.subarray(4, 4 + rLength), joined.subarray(0, 32));
  copyInteger(der.subarray(6 + rLength), joined.subarray(32));
  return joined;
}

/** DER integers have a zero octet in front where the top bit is set, and none in front of short numbers. */
function copyInteger(integer: Uint8Array, target: Uint8Array): void {
  const magnitude =
    integer.length > target.length ? integer.subarray(integer.length - target.length) : integer;
  target.set(magnitude, target.length - magnitude.length);
}

/** ECDSA-Sig-Value in DER of r‖s, for any curve. */
export function derFromJoined(joined: Uint8Array): Uint8Array {
  const half = joined.length / 2;
  return sequence(integer(joined.subarray(0, half)), integer(joined.subarray(half)));
}

function integer(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((octet) => octet !== 0);
  const shortest = start < 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  const isNegative = (shortest[0] ?? 0) >= 0x80;
  return encode(tags.integer, ...(isNegative ? [Uint8Array.of(0), shortest] : [shortest]));
}
