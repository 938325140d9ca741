import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { type Authorizer, exactly, memberOf, oneOf, type Predicate } from '../../workload/authorize.ts';
import { authorizerOf } from '../../workload/authorizer.ts';
import { PeerRefusedError } from '../../workload/peer-refused.ts';
import { readBundles, type TrustBundles } from '../../workload/trust-bundle.ts';
import { createPeerVerifier } from '../../workload/verify-peer.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor } from './credentials.ts';
import { makeWorld, partnerId, peerCases, type World, webId } from './peers.ts';

const ownId = 'spiffe://example.org/ns/shop/sa/db';
const now = Math.floor(Date.now() / 1000);

let world: World;
let bundles: TrustBundles;
before(async () => {
  world = await makeWorld();
  const read = readBundles(world.ca.pem + world.partner.pem, undefined);
  assert.ok(read.ok);
  ({ bundles } = read.value);
});

const ders = (pem: string) => {
  const blocks = decodePem(pem);
  assert.ok(blocks.ok);
  return blocks.value.map(({ der }) => der);
};

const anybody: Predicate = () => true;

function verify(chain: readonly Uint8Array[], authorize: Authorizer | Predicate = anybody, known = bundles) {
  const expected = { bundles: known, authorizer: authorizerOf(authorize), ownId };
  const [leaf, ...others] = chain;
  const verifyPeer = createPeerVerifier(
    () => expected,
    () => now,
  );
  return verifyPeer(leaf, () => others);
}

function refusalOf(run: () => unknown): PeerRefusedError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof PeerRefusedError);
    return error;
  }
  throw new Error('it was accepted');
}

describe('the certificate chain of a peer', () => {
  for (const { name, make, expected } of peerCases) {
    it(`the chain of a peer is ${'id' in expected ? 'accepted' : 'refused'}: ${name}`, async () => {
      const chain = ders((await make(world)).chainPem);
      if ('id' in expected) return assert.equal(verify(chain).uri, expected.id);
      const { rule, message, code } = refusalOf(() => verify(chain));
      assert.equal(code, 'PEER_REFUSED');
      assert.equal(rule, expected.rule);
      assert.match(message, expected.says);
      assert.ok(message.includes(`(own ID ${ownId})`), message);
    });
  }

  it('a chain is accepted in any order of its intermediates, and with certificates that do not belong to it', async () => {
    const upper = await makeCa({ subject: 'CN=upper', issuer: world.ca });
    const lower = await makeCa({ subject: 'CN=lower', issuer: upper });
    const [leaf, ...others] = ders((await credentialsFor(webId, [lower, upper, world.ca])).chainPem);
    assert.ok(leaf);
    const chain = [leaf, world.partner.facts.der, ...others.toReversed(), Buffer.from('none')];
    assert.equal(verify(chain).uri, webId);
  });

  it('a chain is refused without a certificate, and with one that cannot be read', () => {
    assert.equal(refusalOf(() => verify([])).rule, 'certificate');
    assert.equal(refusalOf(() => verify([Buffer.from('none')])).rule, 'certificate');
  });

  it('a chain with thousands of issuers, or hundreds of paths, is refused quickly', async () => {
    const { chainPem } = await credentialsFor(webId, await makeCa({ subject: 'CN=same' }));
    const [leaf] = ders(chainPem);
    const others = await Promise.all(
      Array.from({ length: 10 }, () => makeCa({ subject: 'CN=same', key: world.ca.key })),
    );
    assert.ok(leaf);
    const issuers = others.map(({ facts }) => facts.der);
    const from = performance.now();
    assert.equal(refusalOf(() => verify([leaf, ...issuers])).rule, 'chain');
    assert.match(
      refusalOf(() => verify([leaf, ...Array.from({ length: 5_000 }, () => leaf)])).message,
      /5000 intermediates; at most 10/,
    );
    assert.ok(performance.now() - from < 1_000);
  });

  it('a chain is refused by a bundle without roots', async () => {
    const chain = ders((await credentialsFor(webId, world.ca)).chainPem);
    const empty: TrustBundles = new Map([['example.org', { roots: [], jwtKeys: new Map() }]]);
    assert.equal(refusalOf(() => verify(chain, anybody, empty)).rule, 'chain');
  });
});

const wrong = (value: unknown) => (() => value) as unknown as Predicate;
function onlyShops(id: { readonly path: string }): boolean {
  return id.path.startsWith('/ns/shop/');
}

/** An authorizer, whether it allows the web shop and its namesake of the partner, and what it says of the latter. */
const authorizers: readonly [
  name: string,
  authorize: Authorizer | Predicate,
  own: boolean,
  partner: boolean,
  says?: RegExp,
][] = [
  [
    'exactly',
    exactly(webId),
    true,
    false,
    /not authorized by exactly\(spiffe:\/\/example\.org\/ns\/shop\/sa\/web\)/,
  ],
  ['exactly another one', exactly(ownId), false, false, /not authorized by exactly/],
  ['oneOf', oneOf([ownId, webId]), true, false, /not authorized by oneOf\(\S+, \S+\)/],
  ['memberOf', memberOf('example.com'), false, true],
  [
    'memberOf the other one',
    memberOf('example.org'),
    true,
    false,
    /not authorized by memberOf\(example\.org\)/,
  ],
  ['a predicate', onlyShops, true, true],
  [
    'a predicate that throws',
    () => {
      throw new Error('no database');
    },
    false,
    false,
    /which failed: no database/,
  ],
  [
    'a predicate that gives a promise',
    wrong(Promise.resolve(true)),
    false,
    false,
    /gave a promise and not a boolean/,
  ],
  ['a predicate that gives a text', wrong('yes'), false, false, /gave string and not a boolean/],
  ['a predicate that gives nothing', wrong(undefined), false, false, /gave undefined and not a boolean/],
];

describe('an authorizer', () => {
  for (const [name, authorize, own, partner, says] of authorizers) {
    it(`an authorizer decides by the whole SPIFFE ID: ${name}`, async () => {
      const chains = [
        [webId, own, ders((await credentialsFor(webId, world.ca)).chainPem)],
        [partnerId, partner, ders((await credentialsFor(partnerId, world.partner)).chainPem)],
      ] as const;
      for (const [id, isAllowed, chain] of chains) {
        if (isAllowed) {
          assert.equal(verify(chain, authorize).uri, id);
          continue;
        }
        const refusal = refusalOf(() => verify(chain, authorize));
        assert.deepEqual([refusal.rule, refusal.peerId, refusal.ownId], ['authorizer', id, ownId]);
        assert.ok(refusal.message.startsWith(`the peer ${id} is refused by rule "authorizer": `));
        if (id === partnerId && says) assert.match(refusal.message, says);
      }
    });
  }

  it('there is no default authorizer that accepts every peer', () => {
    for (const missing of [undefined, null, {}, true, webId]) {
      assert.throws(() => authorizerOf(missing as unknown as Predicate), TypeError);
    }
  });

  for (const [name, make] of [
    ['a text that is not an ID', () => exactly('web')],
    ['the ID of a trust domain', () => exactly('spiffe://example.org')],
    ['an empty list', () => oneOf([])],
    ['a list with a wildcard', () => oneOf(['spiffe://example.org/ns/*'])],
    ['a trust domain as a URI', () => memberOf('spiffe://example.org')],
    ['an empty trust domain', () => memberOf('')],
  ] as const) {
    it(`an authorizer is not made of ${name}`, () => {
      assert.throws(make, { code: 'SPIFFE_ID_INVALID' });
    });
  }
});

describe('a leaf that was verified', () => {
  it('a verified leaf is verified again when the bundles change, and when a date on its path has come', async () => {
    const upper = await makeCa({ subject: 'CN=upper', issuer: world.ca, notAfter: now + 300 });
    const [leaf, ...others] = ders((await credentialsFor(webId, [upper, world.ca])).chainPem);
    let [time, known, reads, allows] = [now, bundles, 0, true];
    const verifyPeer = createPeerVerifier(
      () => ({ bundles: known, authorizer: authorizerOf(() => allows), ownId }),
      () => time,
    );
    const verifyOnce = () =>
      verifyPeer(leaf, () => {
        reads += 1;
        return others;
      });
    for (const _ of [1, 2, 3]) assert.equal(verifyOnce().uri, webId);
    assert.equal(reads, 1);
    allows = false;
    assert.equal(refusalOf(verifyOnce).rule, 'authorizer');
    allows = true;
    for (time of [now + 301, now - 3_601]) assert.match(refusalOf(verifyOnce).rule, /chain|validity/);
    time = now;
    known = new Map([['example.org', { roots: [world.partner.facts], jwtKeys: new Map() }]]);
    assert.equal(refusalOf(verifyOnce).rule, 'chain');
  });

  it('a verified leaf is forgotten when too many others came', async () => {
    const verifyPeer = createPeerVerifier(() => ({ bundles, authorizer: authorizerOf(anybody), ownId }));
    let reads = 0;
    const others = () => {
      reads += 1;
      return [];
    };
    const [leaf] = ders((await credentialsFor(webId, world.ca)).chainPem);
    verifyPeer(leaf, others);
    for (let count = 0; count < 1_000; count++) {
      const [other] = ders((await credentialsFor(webId, world.ca)).chainPem);
      verifyPeer(other, others);
    }
    verifyPeer(leaf, others);
    assert.equal(reads, 1_002);
  });
});

describe('a file with roots', () => {
  it('a file with roots gives each trust domain its own roots, and ignores roots without a trust domain', async () => {
    const nameless = await makeCa({ withoutUri: true });
    const text = [world.ca, world.partner, nameless].map(({ pem }) => pem).join('');
    const read = readBundles(text, undefined);
    assert.ok(read.ok);
    const found = [...read.value.bundles].map(([name, { roots }]) => [name, roots.length]);
    assert.deepEqual(found, [
      ['example.org', 1],
      ['example.com', 1],
    ]);
    assert.deepEqual(read.value.leftOut, ['root 3: it has no SPIFFE ID; say which trust domain it is of']);
  });

  it('a bundle of a named trust domain verifies no peer of another one, even if its roots name that', async () => {
    const nameless = await makeCa({ withoutUri: true });
    const read = readBundles(world.ca.pem + world.partner.pem + nameless.pem, 'example.com');
    assert.ok(read.ok);
    assert.deepEqual([...read.value.bundles.keys()], ['example.com']);
    assert.equal(read.value.bundles.get('example.com')?.roots.length, 2);
    assert.deepEqual(read.value.leftOut, ['root 1: it is of the trust domain example.org, not example.com']);
  });
});
