import 'reflect-metadata';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool, parsePool } from '../../signer/authority/pool.ts';
import { poolSecret } from '../../signer/authority/pool-secret.ts';
import { examinePool, type Published } from '../../signer/authority/repair.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 10 * day });
const second = await createAuthority({ id: 'ca-2', trustDomain, now: now - day });
const third = await createAuthority({ id: 'ca-3', trustDomain, now });
const jwt = await createJwtAuthority({ key: 'es256', now });
const nothing: Published = { roots: [] };
const pool = newPool(trustDomain, first, { ...second, state: 'trusted' }, jwt);

const examine = (document: object, published = nothing) =>
  examinePool(JSON.stringify(document), published, { now });
const withChanges = (index: number, changes: object, document: PoolDocument = pool) => ({
  ...document,
  authorities: document.authorities.map((each, at) => (at === index ? { ...each, ...changes } : each)),
});
const misspelt = (from: keyof AuthorityRecord, to: string) => {
  const [active, ...others] = pool.authorities;
  const entries = Object.entries(active ?? {}).map(([key, value]) => [key === from ? to : key, value]);
  return { ...pool, authorities: [Object.fromEntries(entries), ...others] };
};

function rootsOf(document: PoolDocument): Published['roots'] {
  const read = compilePool(document, trustDomain);
  assert.ok(read.ok, read.ok ? '' : read.problem.message);
  return read.pool.roots;
}

describe('the examination of a pool', () => {
  it('the examination of a sound pool finds nothing, and changes nothing', () => {
    const { findings, document } = examine(pool, { roots: rootsOf(pool), sequence: pool.sequence });
    assert.deepEqual(findings, []);
    assert.deepEqual(document, pool);
  });

  const repairable: [name: string, broken: object, field: RegExp, repair: RegExp][] = [
    [
      'a misspelt field',
      misspelt('tainted', 'taintd'),
      /tain?t?/,
      /rename taintd of authority ca-1 to tainted/,
    ],
    ['a field in another case', misspelt('privateKey', 'privatekey'), /privatekey/, /to privateKey/],
    [
      'letters that changed places',
      misspelt('state', 'satte'),
      /satte/,
      /rename satte of authority ca-1 to state/,
    ],
    [
      'two active authorities',
      withChanges(1, { state: 'active' }),
      /\[1\]\.state/,
      /make authority ca-1 retiring: ca-2 became active later/,
    ],
    [
      'two active authorities, the later one tainted',
      withChanges(1, { state: 'active', tainted: true }),
      /\[1\]\.state/,
      /make authority ca-2 retiring: ca-1 is not tainted and signs/,
    ],
    [
      'two authorities with one id',
      withChanges(1, { id: 'ca-1' }),
      /\[1\]\.id/,
      /name the second ca-1 ca-1-2/,
    ],
    [
      'a wrong key of one that does not sign',
      withChanges(1, { privateKey: first.privateKey }),
      /\[1\]\.privateKey/,
      /remove the key of authority ca-2: it does not sign, and its root stays/,
    ],
    [
      'one that is prepared and cannot be read',
      withChanges(1, { state: 'prepared', certificate: 'broken -----BEGIN ' }),
      /\[1\]\.certificate/,
      /remove authority ca-2: it is in no live bundle/,
    ],
    [
      'an active one without its key',
      (({ privateKey: _, ...rest }) => ({ ...pool, authorities: [rest, second, jwt] }))(first),
      /\[0\]\.privateKey/,
      /make authority ca-1 retiring/,
    ],
  ];
  for (const [name, broken, field, repair] of repairable) {
    it(`the examination of a pool repairs ${name}`, () => {
      const { findings, document } = examine(broken);
      assert.match(findings[0]?.problem.field ?? '', field);
      assert.match(findings[0]?.repair ?? 'none', repair);
      assert.ok(document);
      assert.ok(compilePool(document, trustDomain).ok);
      assert.ok(document.sequence > pool.sequence);
    });
  }

  it('the examination adds the published roots that the pool lacks, and raises its sequence above theirs', () => {
    const roots = rootsOf(newPool(trustDomain, { ...third, state: 'trusted' }, first));
    const { findings, document } = examine(pool, { roots, sequence: now + 5 });
    assert.deepEqual(
      findings.map(({ problem }) => problem.reason),
      ['PoolRootsMissing', 'PoolSequenceNotRaised'],
    );
    assert.ok(document && document.sequence > now + 5);
    const kept = new Set(rootsOf(document).map(({ sha256Hex }) => sha256Hex));
    for (const { sha256Hex } of roots) assert.ok(kept.has(sha256Hex));
  });

  const beyond: [name: string, broken: string][] = [
    ['text that is not JSON', '{"authorities": ['],
    ['an empty pool', JSON.stringify({ ...pool, authorities: [] })],
    ['the key of the active authority', JSON.stringify(withChanges(0, { privateKey: second.privateKey }))],
    [
      'a root that cannot be read and may be in use',
      JSON.stringify(withChanges(1, { certificate: '-----BEGIN x' })),
    ],
    ['a state of a newer version', JSON.stringify(withChanges(1, { state: 'sleeping' }))],
  ];
  for (const [name, json] of beyond) {
    it(`the examination of a pool leaves to a person: ${name}`, () => {
      const { findings, document } = examinePool(json, nothing, { now });
      assert.equal(document, undefined);
      assert.equal(findings.at(-1)?.repair, undefined);
      assert.match(findings.at(-1)?.problem.remedy ?? '', /restore|version/);
    });
  }

  it('a repair never loses a taint, a root or a key that signs, with any number of problems at once', () => {
    const breaks: ((document: PoolDocument) => PoolDocument)[] = [
      (document) => withChanges(1, { state: 'active', activatedAt: rfc3339(now) }, document),
      (document) => withChanges(1, { id: 'ca-1' }, document),
      (document) => withChanges(1, { privateKey: first.privateKey }, document),
      (document) => withChanges(1, { tainted: true }, document),
      (document) => withChanges(2, { id: 'ca-1' }, document),
    ];
    const published: Published = { roots: rootsOf(pool), sequence: now };
    fc.assert(
      fc.property(fc.shuffledSubarray(breaks), (chosen) => {
        const broken = chosen.reduce((document, breakIt) => breakIt(document), pool);
        const { document } = examine(broken, published);
        if (!document) return;
        const secret = {
          metadata: { name: 'pool' },
          type: poolSecret.type,
          data: { [poolSecret.key]: Buffer.from(JSON.stringify(document)).toString('base64') },
        };
        assert.ok(parsePool(secret, { trustDomain, now }).pool);
        assert.equal(
          document.authorities.filter(({ tainted }) => tainted).length,
          broken.authorities.filter(({ tainted }) => tainted).length,
        );
        const roots = new Set(rootsOf(document).map(({ sha256Hex }) => sha256Hex));
        for (const { sha256Hex } of published.roots) assert.ok(roots.has(sha256Hex));
        assert.ok(document.authorities.some(({ privateKey }) => privateKey === first.privateKey));
      }),
      { numRuns: 60 },
    );
  });
});
