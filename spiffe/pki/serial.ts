/** RFC 5280 4.1.2.2 allows no more. */
const serialOctets = 20;

/**
 * A certificate serial number: 20 octets of which the two top bits are 01, so it is positive, is its own shortest
 * DER form, and still holds 158 random bits (CA/Browser Forum BR 7.1 wants 64, we promise 128).
 */
export function makeSerial(random: (octets: number) => Uint8Array): Uint8Array {
  const serial = Uint8Array.from(random(serialOctets));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}
