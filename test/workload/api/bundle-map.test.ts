import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { createJwtAuthority } from '../../../signer/authority/create-jwt.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool } from '../../../signer/authority/pool.ts';
import { spiffeBundleDocument } from '../../../signer/trust/published-documents.ts';
import { readBundleMap } from '../../../workload/api/bundle-map.ts';
import { aPool } from '../../contract/installation.ts';

const own = 'example.org';

/** A SPIFFE bundle with a root and a JWT key. */
async function bundleOf(trustDomain: string): Promise<unknown> {
  const jwt = await createJwtAuthority({ key: 'es256', now: Math.floor(Date.now() / 1000) });
  const pool = await aPool({ trustDomain });
  const compiled = compilePool(
    { ...newPool(trustDomain), ...pool, authorities: [...pool.authorities, jwt] },
    trustDomain,
  );
  assert.ok(compiled.ok);
  return JSON.parse(String(spiffeBundleDocument(compiled.pool, 300)?.bytes));
}
const read = (value: unknown) => readBundleMap(Buffer.from(JSON.stringify(value)), own);

describe('the bundles that the token endpoint gives', () => {
  let ours: unknown;
  let partner: unknown;
  before(async () => {
    [ours, partner] = await Promise.all([bundleOf(own), bundleOf('partner.example')]);
  });

  it('an answer of the endpoint has the JWT keys of the own trust domain, and roots and keys of the others', () => {
    const map = read({ trust_domains: { [own]: ours, 'partner.example': partner } });
    assert.ok(map.ok);
    const sizes = [...map.value.bundles].map(([name, { roots, jwtKeys }]) => [
      name,
      roots.length,
      jwtKeys.size,
    ]);
    assert.deepEqual(sizes, [
      [own, 0, 1],
      ['partner.example', 1, 1],
    ]);
    assert.deepEqual([map.value.refreshHintSeconds, map.value.leftOut], [300, []]);
  });

  it('a trust domain with an unusable bundle is left out, for example one with roots of the own trust domain', () => {
    const map = read({ trust_domains: { [own]: ours, 'a.example': { keys: 'none' }, 'b.example': ours } });
    assert.ok(map.ok);
    assert.match(map.value.leftOut.join(), /a\.example.*b\.example: .*is of the trust domain example\.org/);
    assert.deepEqual(map.value.bundles.get('b.example')?.roots, []);
    assert.equal(map.value.bundles.has('a.example'), false);
  });

  const unusable: [what: string, value: unknown, reason: RegExp][] = [
    ['no object', [], /not a JSON object/],
    ['nothing in it', {}, /no trust_domains/],
    ['no own bundle', { trust_domains: {} }, /no bundle of example\.org/],
    [
      'an own bundle that cannot be read',
      { trust_domains: { [own]: { keys: 1 } } },
      /bundle of example\.org/,
    ],
  ];
  for (const [what, value, reason] of unusable) {
    it(`an answer of the endpoint is refused with ${what}`, () => {
      const map = read(value);
      assert.match(map.ok ? '' : map.reason, reason);
    });
  }

  it('reading any answer of the endpoint as bundles never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          assert.equal(readBundleMap(bytes, own).ok, false);
        },
      ),
    );
  });
});
