import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createAuthority } from '../../../signer/authority/create.ts';
import { createJwtAuthority } from '../../../signer/authority/create-jwt.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../../signer/authority/pool.ts';
import { createDocuments } from '../../../signer/token/http/document-routes.ts';
import { publicationOf } from '../../../signer/trust/publication.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25) / 1000;
const root = await createAuthority({ id: 'ca-1', trustDomain, now });
const jwtKey = await createJwtAuthority({ key: 'es256', now });

function poolOf(...authorities: Parameters<typeof newPool>[1][]): Pool {
  const compiled = compilePool(
    { ...newPool(trustDomain), authorities: authorities.filter((each) => each !== undefined) },
    trustDomain,
  );
  assert.ok(compiled.ok);
  return compiled.pool;
}

const unread = 'the pool was not read yet';
const nothing = 'the pool has nothing to publish here';
const pools: [what: string, pool: Pool | undefined, keys: string, bundle: string, roots: string][] = [
  ['no pool', undefined, unread, unread, unread],
  ['a root and a JWT key', poolOf(root, jwtKey), 'served', 'served', 'served'],
  ['a root alone', poolOf(root), 'served', 'served', 'served'],
  ['a JWT key alone', poolOf(jwtKey), 'served', 'served', nothing],
  // A key set without keys says that no JWT-SVID is good; a bundle without anything would say so of everything.
  ['nothing that is published', poolOf({ ...root, state: 'prepared' }), 'served', nothing, nothing],
];
for (const [what, pool, ...expected] of pools) {
  it(`with ${what}, the documents are served or refused with the reason`, () => {
    const { keys, bundle, roots } = createDocuments(
      publicationOf(() => pool),
      {
        issuer: undefined,
        refreshHintSeconds: 300,
      },
    );
    const outcomes = [keys, bundle, roots].map((current) => {
      const outcome = current?.();
      return outcome?.ok ? 'served' : outcome?.detail;
    });
    assert.deepEqual(outcomes, expected);
  });
}
