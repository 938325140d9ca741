import { oids } from './oid.ts';

/** A NIST curve y² = x³ - 3x + b over the field of p (SP 800-186 3.2.1). */
export interface Curve {
  readonly name: string;
  readonly oid: string;
  /** OpenSSL's name, as KeyObjects have it. */
  readonly openssl: string;
  /** Octets of one coordinate. */
  readonly size: number;
  readonly p: bigint;
  readonly b: bigint;
}

export const p256: Curve = {
  name: 'P-256',
  oid: oids.p256,
  openssl: 'prime256v1',
  size: 32,
  p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
  b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
};

export const p384: Curve = {
  name: 'P-384',
  oid: oids.p384,
  openssl: 'secp384r1',
  size: 48,
  p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
  b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
};

export const p521: Curve = {
  name: 'P-521',
  oid: oids.p521,
  openssl: 'secp521r1',
  size: 66,
  p: 2n ** 521n - 1n,
  b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
};

/** Those that keys may be on. */
export const curves: readonly Curve[] = [p256, p384, p521];

/**
 * Whether the octets are an uncompressed point (SEC 1 2.3.4) of the curve. A point beside the curve is refused
 * here because Go's crypto/x509, with which the API server reads our certificate, refuses it too. OpenSSL would see
 * it as well, but createPublicKey takes seven times as long (38 µs), for each request twice the time of the signature.
 */
export function isPointOnCurve(curve: Curve, point: Uint8Array): boolean {
  const { size, p, b } = curve;
  if (point.length !== 1 + 2 * size || point[0] !== 0x04) return false;
  const x = toBigInt(point.subarray(1, 1 + size));
  const y = toBigInt(point.subarray(1 + size));
  return x < p && y < p && (y * y - (x * x - 3n) * x - b) % p === 0n;
}

function toBigInt(octets: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('hex')}`);
}
