import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { it } from 'node:test';
import fc from 'fast-check';
import { derFromJoined, joinedFromDer } from '../../../spiffe/pki/ecdsa-signature.ts';

const number = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes });
/** Half of them short, as one in 256 of all signatures is. */
const halves = (bytes: number) =>
  fc
    .tuple(number(bytes), fc.integer({ min: 0, max: bytes }))
    .map(([octets, zeros]) => octets.fill(0, 0, zeros));

it('an ECDSA signature of P-256 is the same after a conversion to DER and back', () => {
  fc.assert(
    fc.property(halves(32), halves(32), (r, s) => {
      const joined = Buffer.concat([r, s]);
      assert.deepEqual(Buffer.from(joinedFromDer(derFromJoined(joined))), joined);
    }),
  );
});

for (const namedCurve of ['P-256', 'P-384']) {
  it(`OpenSSL verifies ECDSA signatures of ${namedCurve} that were converted from r‖s to DER`, () => {
    const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve });
    for (let count = 0; count < 600; count += 1) {
      const content = Buffer.from(`content ${count}`);
      const joined = sign('sha256', content, { key, dsaEncoding: 'ieee-p1363' });
      assert.ok(verify('sha256', content, publicKey, derFromJoined(joined)));
    }
  });
}
