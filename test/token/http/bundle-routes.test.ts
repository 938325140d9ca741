import 'reflect-metadata';
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createAuthority } from '../../../signer/authority/create.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../../signer/authority/pool.ts';
import {
  type FederatedTrustDomain,
  followedTrustDomains,
  readFederatedTrustDomain,
} from '../../../signer/federation/federated-trust-domain.ts';
import { createPeerBundles } from '../../../signer/federation/peer-bundles.ts';
import { createStore } from '../../../signer/kube/store.ts';
import { realTime } from '../../../signer/kube/time.ts';
import type { Checked } from '../../../signer/observe/checked.ts';
import { createBundles } from '../../../signer/token/http/bundle-routes.ts';
import { createDocuments } from '../../../signer/token/http/document-routes.ts';
import type { FederatedWith } from '../../../signer/token/svid/federated-with.ts';
import { createPublication, publicationOf } from '../../../signer/trust/publication.ts';
import type { PublishedDocument } from '../../../signer/trust/published-documents.ts';
import { makeCa } from '../../authority/authorities.ts';
import { x509KeyOf } from '../../federation/bundles.ts';

const trustDomain = 'example.org';
const settings = { issuer: undefined, refreshHintSeconds: 300 };
const bundle = (sequence: number) => `{"keys":[],"spiffe_sequence":${sequence}}`;
const to = (trustDomains: FederatedWith['trustDomains']): FederatedWith => ({
  trustDomains,
  because: 'the registration shop/web',
});

describe('the bundles of a caller', () => {
  let pool: Pool | undefined;
  let whole: Pool;
  let peers: ReadonlyMap<string, string>;
  const bundles = createBundles({
    ...settings,
    trustDomain,
    publication: publicationOf(() => pool),
    peers: () => peers,
  });
  const served = (document: Checked<PublishedDocument> | undefined): PublishedDocument => {
    assert.ok(document?.ok, JSON.stringify(document));
    return document.value;
  };
  const mapFor = (trustDomains: FederatedWith['trustDomains']) => served(bundles.mapFor(to(trustDomains)));
  const namesIn = ({ bytes }: PublishedDocument) => Object.keys(JSON.parse(String(bytes)).trust_domains);

  before(async () => {
    const now = Math.floor(Date.now() / 1000);
    const compiled = compilePool(
      newPool(trustDomain, await createAuthority({ id: 'ca-1', trustDomain, now })),
      trustDomain,
    );
    assert.ok(compiled.ok);
    whole = compiled.pool;
    pool = whole;
    peers = new Map([
      ['a.example', bundle(1)],
      ['b.example', bundle(2)],
    ]);
  });

  const maps: [what: string, FederatedWith['trustDomains'], string[]][] = [
    ['all', 'all', ['example.org', 'a.example', 'b.example']],
    ['none', [], ['example.org']],
    ['one of them', ['b.example'], ['example.org', 'b.example']],
    ['the same one twice', ['b.example', 'b.example'], ['example.org', 'b.example']],
    ['one that this cluster has no bundle of', ['c.example'], ['example.org']],
    ['its own trust domain', ['example.org'], ['example.org']],
  ];
  for (const [what, trustDomains, expected] of maps) {
    it(`a caller gets the bundles that it is federated with, beside our own: ${what}`, () => {
      assert.deepEqual(namesIn(mapFor(trustDomains)), expected);
    });
  }

  it('bundles are made once for all callers with the same federated trust domains, and again when one changes', () => {
    const first = mapFor(['a.example', 'b.example']);
    assert.equal(mapFor(['b.example', 'a.example']), first);
    assert.notEqual(mapFor(['a.example']), first);
    peers = new Map([...peers, ['a.example', bundle(3)]]);
    const next = mapFor(['a.example', 'b.example']);
    assert.notEqual(next, first);
    assert.match(String(next.bytes), /"spiffe_sequence":3/);
  });

  it('bundles are made once for registrations that differ only in trust domains without a bundle here', () => {
    const first = mapFor(['a.example', 'none.example']);
    for (const names of [['a.example'], ['a.example', 'c.example'], ['x', 'a.example', trustDomain]])
      assert.equal(mapFor(names), first);
    assert.equal(mapFor(['none.example']), mapFor([]));
  });

  it('the bundle of a caller equals our own document, and a trust domain may have a name that every object has', () => {
    peers = new Map([['__proto__', bundle(4)]]);
    const own = served(
      createDocuments(
        publicationOf(() => pool),
        settings,
      ).bundle?.(),
    );
    const { trust_domains: all } = JSON.parse(String(mapFor('all').bytes));
    assert.deepEqual(all['example.org'], JSON.parse(String(own.bytes)));
    assert.equal(JSON.stringify(all).includes(`"__proto__":${bundle(4)}`), true);
    assert.equal(String(served(bundles.bundleFor('example.org', to([]))).bytes), String(own.bytes));
  });

  const single: [what: string, name: string, FederatedWith['trustDomains'], RegExp | number][] = [
    ['one that it is federated with', 'b.example', ['b.example'], 2],
    ['one of all', 'b.example', 'all', 2],
    [
      'one that its registration does not name',
      'b.example',
      ['a.example'],
      /b\.example: the registration shop/,
    ],
    ['one that this cluster has no bundle of', 'c.example', 'all', /c\.example: no bundle of it is held/],
    ['a name that no trust domain has', '../x', 'all', /no bundle of it is held/],
  ];
  for (const [what, name, trustDomains, expected] of single) {
    it(`a bundle is found by name: ${what}`, () => {
      peers = new Map([['b.example', bundle(2)]]);
      const document = bundles.bundleFor(name, to(trustDomains));
      if (typeof expected === 'number') {
        assert.equal(String(served(document).bytes), bundle(expected));
        return;
      }
      assert.ok(!document.ok);
      assert.equal(document.code, 'TrustDomainNotFederated');
      assert.match(document.detail, expected);
    });
  }

  it('bundles are not served before the pool was read', () => {
    pool = undefined;
    for (const early of [bundles.mapFor(to('all')), bundles.bundleFor('example.org', to('all'))])
      assert.deepEqual([early.ok, !early.ok && early.code], [false, 'NotReady']);
    pool = whole;
  });

  for (const isMissing of [true, false]) {
    it(`bundles of others wait for the FederatedTrustDomains ${isMissing ? 'without' : 'with'} ClusterTrustBundles`, async () => {
      const spec = followedTrustDomains(() => undefined);
      const store = createStore<FederatedTrustDomain>({ time: realTime, indexes: spec.indexes ?? {} });
      const federated = createPeerBundles({
        ...{ signerName: 'kubespiffe.io/spiffe', trustDomain, time: realTime },
        resources: { spec, store, isUnlisted: () => false },
        transport: { request: () => assert.fail('nothing is read live') },
      });
      const publication = createPublication(
        () => whole,
        { siblings: federated.siblings, peers: federated.roots, onChange: () => undefined },
        { mark: () => undefined, isMissing: () => isMissing, isRead: () => true },
      );
      const early = createBundles({ ...settings, trustDomain, publication, peers: federated.documents });
      const refusalOf = (answer: Checked<PublishedDocument>) =>
        answer.ok ? 'served' : `${answer.code}: ${answer.detail}`;
      const unread = 'NotReady: the FederatedTrustDomains were not read yet';
      for (const trustDomains of ['all', ['partner.example']] as const) {
        assert.equal(refusalOf(early.mapFor(to(trustDomains))), unread);
        assert.equal(refusalOf(early.bundleFor('partner.example', to(trustDomains))), unread);
      }
      // These answers need no other trust domain; only the sequence of our own bundle may depend on the other clusters.
      const own = isMissing ? 'served' : unread;
      assert.equal(refusalOf(early.mapFor(to([]))), own);
      assert.equal(refusalOf(early.bundleFor(trustDomain, to('all'))), own);
      const { bundle: document } = createDocuments(publication, settings);
      assert.equal(refusalOf(document?.() ?? assert.fail()), own);
      const strange = early.bundleFor('partner.example', to(['a.example']));
      assert.match(refusalOf(strange), /^TrustDomainNotFederated: /);

      store.replace([]);
      assert.deepEqual(namesIn(served(early.mapFor(to('all')))), ['example.org']);
      const absent = refusalOf(early.bundleFor('partner.example', to('all')));
      assert.equal(absent, 'TrustDomainNotFederated: partner.example: no bundle of it is held');

      const now = Math.floor(Date.now() / 1000);
      const ca = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, uris: [] });
      const text = JSON.stringify({ keys: [x509KeyOf(ca)], spiffe_sequence: 1, spiffe_refresh_hint: 300 });
      const partner = readFederatedTrustDomain({
        metadata: { name: 'partner', uid: 'partner', resourceVersion: '1', generation: 1 },
        spec: { trustDomain: 'partner.example', bundle: text },
        status: { bundle: text },
      });
      store.set('partner', partner);
      assert.deepEqual(namesIn(served(early.mapFor(to('all')))), ['example.org', 'partner.example']);
      assert.equal(refusalOf(early.bundleFor('partner.example', to('all'))), 'served');
    });
  }

  it('bundles are made even for more sets than are cached', () => {
    peers = new Map(Array.from({ length: 600 }, (_, index) => [`p${index}.example`, bundle(index)]));
    for (const name of peers.keys()) assert.deepEqual(namesIn(mapFor([name])), ['example.org', name]);
  });
});
