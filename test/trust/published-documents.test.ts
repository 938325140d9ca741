import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { authorityStates, isPublished } from '../../signer/authority/states.ts';
import {
  discoveryDocument,
  jwksDocument,
  type PublishedDocument,
  publishedAlgorithms,
  rootsPem,
  spiffeBundleDocument,
} from '../../signer/trust/published-documents.ts';
import { parseJwks, parseSpiffeBundle } from '../../spiffe/bundle.ts';
import { checkBundle, checkBundleKey } from '../../spiffe/bundle-clauses.ts';
import type { JsonObject } from '../../spiffe/json.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';

const now = Date.UTC(2026, 10, 22, 12) / 1000;
const trustDomain = 'example.org';

/** Authorities to make pools of; keys take long to make, and states are what matters here. */
const shelf: readonly AuthorityRecord[] = [
  await createAuthority({ id: 'x1', trustDomain, now }),
  await createAuthority({ id: 'x2', trustDomain, now, keyType: 'ecdsa-p384' }),
  await createAuthority({ id: 'x3', trustDomain, now, keyType: 'ed25519' }),
  { ...(await createJwtAuthority({ key: 'es256', now })), id: 'j1' },
  { ...(await createJwtAuthority({ key: 'es256', now })), id: 'j2' },
  { ...(await createJwtAuthority({ key: 'rs256', now })), id: 'j3' },
];

/** A pool of some of them, in any states that may be together. */
const records: fc.Arbitrary<AuthorityRecord[]> = fc
  .tuple(...shelf.map(() => fc.record({ state: fc.constantFrom(...authorityStates), tainted: fc.boolean() })))
  .chain((choices) => {
    const active = new Set<string>();
    const all = shelf.map((record, i) => {
      const { state = 'trusted', tainted = false } = choices[i] ?? {};
      const isTaken = state === 'active' && active.has(record.kind);
      if (state === 'active') active.add(record.kind);
      const isWrong = isTaken || (state === 'preview' && record.kind !== 'X509');
      return { ...record, state: isWrong ? ('retiring' as const) : state, tainted };
    });
    return fc.shuffledSubarray(all, { minLength: 1 });
  });
const sequence = fc.nat();

function compile(authorities: readonly AuthorityRecord[], at = 1): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), sequence: at, authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

const published = (authorities: readonly AuthorityRecord[], isJwt: boolean) =>
  authorities.filter((each) => isPublished(each.state) && (each.kind === 'X509') !== isJwt);

const all = (pool: Pool): (PublishedDocument | undefined)[] => [
  spiffeBundleDocument(pool, 300),
  jwksDocument(pool),
  rootsPem(pool),
];

describe('the documents of a pool', () => {
  it('the documents of a pool are the same bytes for the same content, in any order and at any time', () => {
    fc.assert(
      fc.property(records, sequence, fc.integer({ min: 0, max: 1e9 }), (some, at, seconds) => {
        const time = new Date(seconds * 1000).toISOString();
        const moved = some.toReversed().map((each) => ({ ...each, publishedAt: time, activatedAt: time }));
        assert.deepEqual(all(compile(some, at)), all(compile(moved, at)));
      }),
      { numRuns: 50 },
    );
  });

  it('the documents of a pool hold exactly what is published, and can be read again', () => {
    fc.assert(
      fc.property(records, sequence, (some, at) => {
        const pool = compile(some, at);
        const roots = published(some, false);
        const jwtKeys = published(some, true);
        const kids = pool.jwt.filter(({ state }) => isPublished(state)).map(({ kid }) => kid);

        const jwks = parseJwks(jwksDocument(pool).bytes.toString());
        assert.ok(jwks.ok, jwks.ok ? '' : jwks.reason);
        assert.deepEqual([...jwks.value.jwtKeys.keys()].sort(), kids.sort());
        const pem = decodePem(rootsPem(pool)?.bytes.toString() ?? '');
        assert.equal(pem.ok ? pem.value.length : 0, roots.length);
        const algorithms = new Set(jwtKeys.map(({ kind }) => kind.replace('JWT-', '')));
        assert.deepEqual([...publishedAlgorithms(pool)], [...algorithms].sort());

        const document = spiffeBundleDocument(pool, 300);
        if (roots.length + jwtKeys.length === 0) return assert.equal(document, undefined);
        const bundle = parseSpiffeBundle(document?.bytes.toString() ?? '');
        assert.ok(bundle.ok, bundle.ok ? '' : bundle.reason);
        assert.equal(bundle.value.sequence, at);
        assert.equal(bundle.value.refreshHintSeconds, 300);
        assert.equal(bundle.value.roots.length, roots.length);
        assert.deepEqual([...bundle.value.jwtKeys.keys()].sort(), kids.sort());
        assert.deepEqual(bundle.value.ignored, []);
      }),
      { numRuns: 50 },
    );
  });

  it('the documents of a pool meet every clause for bundles, MUST and SHOULD', () => {
    fc.assert(
      fc.property(records, (some) => {
        const document = spiffeBundleDocument(compile(some), 300);
        if (!document) return;
        const bundle = JSON.parse(document.bytes.toString()) as JsonObject & { keys: JsonObject[] };
        const findings = [...checkBundle(bundle), ...bundle.keys.flatMap(checkBundleKey)];
        assert.deepEqual(
          findings.filter(({ ok }) => !ok),
          [],
        );
      }),
      { numRuns: 25 },
    );
  });

  it('the documents of a pool never hold a private member or any part of a private key', () => {
    const isPrivate = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']);
    const secrets = shelf.map(({ privateKey = '' }) => privateKey.split('\n')[1] ?? '');
    assert.ok(secrets.every((line) => line.length >= 40));
    fc.assert(
      fc.property(records, (some) => {
        const pool = compile(some);
        for (const document of all(pool)) {
          const text = document?.bytes.toString() ?? '';
          assert.ok(!text.includes('PRIVATE') && secrets.every((line) => !text.includes(line)));
        }
        for (const document of [spiffeBundleDocument(pool, 1), jwksDocument(pool)]) {
          const { keys = [] } = JSON.parse(document?.bytes.toString() ?? '{}') as { keys?: object[] };
          assert.ok(keys.every((key) => Object.keys(key).every((name) => !isPrivate.has(name))));
        }
      }),
      { numRuns: 25 },
    );
  });

  it('the documents of a pool are the same for every sequence, except for the bundle with its sequence', () => {
    const texts = new Set<string>();
    for (const at of [1, 2]) {
      for (const document of all(
        compile(
          shelf.filter((each) => each.id !== 'j2' && each.id !== 'x2' && each.id !== 'x3'),
          at,
        ),
      )) {
        assert.ok(document);
        texts.add(document.bytes.toString());
      }
    }
    assert.equal(texts.size, 4);
  });
});

describe('the discovery document', () => {
  const document = discoveryDocument({
    issuer: 'https://oidc.example.org/cluster',
    jwksUri: 'https://oidc.example.org/cluster/keys',
    algorithms: ['ES256', 'RS256'],
  });

  it('the discovery document has the members that OpenID Connect and the clouds require', () => {
    assert.equal(document.contentType, 'application/json');
    assert.deepEqual(JSON.parse(document.bytes.toString()), {
      issuer: 'https://oidc.example.org/cluster',
      jwks_uri: 'https://oidc.example.org/cluster/keys',
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256', 'RS256'],
      claims_supported: ['sub', 'aud', 'exp', 'iat', 'iss', 'jti', 'nbf'],
    });
  });
});
