import 'reflect-metadata';
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  type FederatedTrustDomain,
  followedTrustDomains,
  readFederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import { createPeerBundles } from '../../signer/federation/peer-bundles.ts';
import { createRemover } from '../../signer/federation/remover.ts';
import { createStore } from '../../signer/kube/store.ts';
import { differenceOf, type ObservedBundle } from '../../signer/trust/bundle.ts';
import { makeCa } from '../authority/authorities.ts';
import { createFakeTime, settle, timeWith } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { onlyMember } from '../trust/membership.ts';
import { x509KeyOf } from './bundles.ts';

const now = Math.floor(Date.now() / 1000);
let bundle: string;
before(async () => {
  const ca = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, uris: [] });
  bundle = JSON.stringify({ keys: [x509KeyOf(ca)], spiffe_sequence: 1, spiffe_refresh_hint: 300 });
});

/** A resource by its name alone holds a bundle of `NAME.example`, which its spec has too. */
type Given =
  | string
  | {
      readonly name: string;
      readonly uid?: string;
      readonly trustDomain?: string;
      readonly createdAt?: string;
      readonly holdsNone?: boolean;
    };

const nameOf = (given: Given) => (typeof given === 'string' ? given : given.name);

function wireOf(given: Given) {
  const all = typeof given === 'string' ? { name: given } : given;
  const { name, uid = name, trustDomain = `${name}.example`, createdAt, holdsNone } = all;
  return {
    metadata: { name, uid, resourceVersion: '1', generation: 1, creationTimestamp: createdAt },
    spec: { trustDomain, bundle },
    status: holdsNone ? {} : { bundle },
  };
}

/** A replica that sees resources and ClusterTrustBundles, and an API server that has these resources. */
function aReplica(...existing: Given[]) {
  const time = createFakeTime(now * 1000);
  const api = createScriptedApi();
  const spec = followedTrustDomains(() => undefined);
  const store = createStore<FederatedTrustDomain>({ time, indexes: spec.indexes ?? {} });
  const observed = createStore<ObservedBundle>({ time });
  const scene = { time, store, observed, isUnlisted: false, existing };
  const peers = createPeerBundles({
    ...{
      signerName: 'kubespiffe.io/spiffe',
      trustDomain: 'example.org',
      time: timeWith({ now: () => now * 1000 }),
    },
    resources: { spec, store, isUnlisted: () => scene.isUnlisted },
    transport: api.transport,
  });
  api.answer = ({ method, path }) => {
    const name = path.split('/').at(-1) ?? '';
    const found = scene.existing.find((each) => nameOf(each) === name);
    if (method === 'GET' && found !== undefined) return { status: 200, body: wireOf(found) };
    return method === 'GET'
      ? { status: 404, body: { kind: 'Status', reason: 'NotFound', details: { name } } }
      : { status: 200 };
  };
  const remover = createRemover({
    ...{
      peers,
      observed,
      synced: store.synced,
      transport: api.transport,
      servedVersion: () => 'v1' as const,
    },
    ...{ membership: onlyMember, rankFor: () => 0, takeoverDelayMs: 1_000, time },
    log: { info() {}, warn() {} },
  });
  const list = (...all: Given[]) =>
    store.replace(all.map((each) => [nameOf(each), readFederatedTrustDomain(wireOf(each))] as const));
  return {
    ...{ scene, peers, list },
    /** The bundles that these resources have, as the publisher writes them. */
    published: (...all: Given[]) => {
      const other = aReplicaOf(...all).desired();
      assert.ok(other.ok);
      observed.replace(
        [...other.value].map(([name, made]) => {
          assert.ok(made.ok);
          return [name, { ...made.value, resourceVersion: '1', ends: new Map() }] as const;
        }),
      );
    },
    deleted: () => api.requests.filter(({ method }) => method === 'DELETE').map(({ path }) => path),
    async run(act: () => Promise<void>) {
      const stopping = new AbortController();
      const running = remover.run(stopping.signal);
      await settle();
      await act();
      stopping.abort();
      await running;
    },
  };
}

function aReplicaOf(...all: Given[]) {
  const { peers, list } = aReplica(...all);
  list(...all);
  return peers;
}

const pathOf = (name: string) =>
  `/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:peer.${name}.example`;

describe('the bundle of a trust domain whose resource was deleted while no replica ran', () => {
  for (const first of ['bundles', 'resources']) {
    it(`a left-over bundle, and no other, is deleted if the ${first} are read first`, async () => {
      const replica = aReplica('kept');
      await replica.run(async () => {
        if (first === 'resources') replica.list('kept');
        replica.published('kept', 'revoked');
        await replica.scene.time.advance(5_000);
        if (first === 'bundles') assert.deepEqual(replica.deleted(), []);
        replica.list('kept');
        await replica.scene.time.advance(5_000);
        assert.deepEqual(replica.deleted().slice(0, 1), [pathOf('revoked')]);
        assert.deepEqual(new Set(replica.deleted()), new Set([pathOf('revoked')]));
      });
    });
  }
});

describe('the bundle of a deleted resource, while another one that was never fetched takes its place', () => {
  const first = { name: 'first', trustDomain: 'kept.example', createdAt: '2026-11-30T01:00:00Z' };
  const second = { ...first, name: 'second', createdAt: '2026-11-30T02:00:00Z', holdsNone: true };
  const again = { ...first, uid: 'again', createdAt: '2026-11-30T03:00:00Z', holdsNone: true };
  const path = pathOf('kept');

  it('the bundle of the first of two resources is deleted with it if the second one holds none', async () => {
    const replica = aReplica(first, second);
    const { scene } = replica;
    await replica.run(async () => {
      replica.list(first, second);
      replica.published(first);
      await scene.time.advance(10_000);
      assert.deepEqual(replica.deleted(), []);
      scene.existing = [second];
      replica.list(second);
      await scene.time.advance(1_000);
      assert.deepEqual(replica.deleted().slice(0, 1), [path]);
    });
  });

  it('the bundle of the first of two resources stays after its deletion if the second one holds one', async () => {
    const fetched = { ...second, holdsNone: false };
    const replica = aReplica(fetched);
    await replica.run(async () => {
      replica.published(first);
      replica.list(first, second);
      replica.list(fetched);
      await replica.scene.time.advance(10_000);
      assert.deepEqual(replica.deleted(), []);
    });
  });

  it('a bundle is deleted if its resource was deleted and created again under its name before a replica saw that', async () => {
    const replica = aReplica(again);
    await replica.run(async () => {
      replica.published(first);
      replica.list(again);
      await replica.scene.time.advance(1_000);
      assert.deepEqual(replica.deleted().slice(0, 1), [path]);
    });
  });

  it('a bundle stays if the API server already has the one that was fetched for the new resource', async () => {
    const replica = aReplica({ ...again, holdsNone: false });
    await replica.run(async () => {
      replica.published(first);
      replica.list(again);
      await replica.scene.time.advance(10_000);
      assert.deepEqual(replica.deleted(), []);
    });
  });

  it('a bundle stays while the API server has its resource, which this replica has not seen yet', async () => {
    const replica = aReplica({ ...first, holdsNone: true });
    await replica.run(async () => {
      replica.published(first);
      replica.list();
      await replica.scene.time.advance(10_000);
      assert.deepEqual(replica.deleted(), []);
    });
  });
});

describe('the bundles that a version published which recorded no UID', () => {
  const uid = 'kubespiffe.io/federated-trust-domain-uid';
  const kept = { name: 'kept', createdAt: '2026-11-30T01:00:00Z' };

  /** The bundle as that version wrote it. */
  function publishedBefore(replica: ReturnType<typeof aReplica>): ObservedBundle {
    const { observed } = replica.scene;
    replica.published(kept);
    const [bundle = assert.fail()] = observed.values();
    const { [uid]: recorded, ...annotations } = bundle.annotations;
    assert.equal(recorded, 'kept');
    const before = { ...bundle, annotations };
    observed.set(bundle.name, before);
    return before;
  }

  for (const holdsNone of [true, false]) {
    const holds = holdsNone ? 'none yet' : 'one';
    it(`a bundle without a UID stays after an upgrade while the resource of its name holds ${holds}`, async () => {
      const resource = { ...kept, holdsNone };
      const replica = aReplica(resource);
      await replica.run(async () => {
        publishedBefore(replica);
        replica.list(resource);
        await replica.scene.time.advance(60_000);
        assert.deepEqual(replica.deleted(), []);
      });
    });
  }

  it('a bundle without a UID gets that of its resource', () => {
    const replica = aReplica();
    replica.list(kept);
    const before = publishedBefore(replica);
    const desired = replica.peers.desired();
    const bundle = desired.ok ? desired.value.get(before.name) : undefined;
    assert.ok(bundle?.ok);
    assert.equal(differenceOf(bundle.value, before), `the annotation ${uid} is not kept`);
  });

  it('a bundle without a UID is deleted if another resource that holds none takes the place of its own', async () => {
    const other = { name: 'other', trustDomain: 'kept.example', holdsNone: true };
    const replica = aReplica(other);
    await replica.run(async () => {
      publishedBefore(replica);
      replica.list(other);
      await replica.scene.time.advance(1_000);
      assert.deepEqual(replica.deleted().slice(0, 1), [pathOf('kept')]);
    });
  });
});

describe('an API server that does not serve the resource', () => {
  it('all bundles stay while the resource is not served, and unused ones are deleted when it is back', async () => {
    const replica = aReplica('kept', 'revoked');
    const { scene } = replica;
    await replica.run(async () => {
      replica.list('kept', 'revoked');
      replica.published('kept', 'revoked');
      await scene.time.advance(5_000);
      scene.isUnlisted = true;
      replica.list();
      await scene.time.advance(300_000);
      assert.deepEqual(replica.deleted(), []);
      scene.isUnlisted = false;
      scene.existing = ['kept'];
      replica.list('kept');
      await scene.time.advance(10_000);
      assert.deepEqual(new Set(replica.deleted()), new Set([pathOf('revoked')]));
    });
  });

  it('documents and roots stay while the resource is not served, and follow the resources afterwards', () => {
    const { scene, peers, list } = aReplica();
    list('kept', 'revoked');
    const names = () =>
      [peers.documents() ?? new Map(), peers.roots() ?? new Map()].map((map) => [...map.keys()].sort());
    const both = ['kept.example', 'revoked.example'];
    assert.deepEqual(names(), [both, both]);
    scene.isUnlisted = true;
    list();
    assert.deepEqual(names(), [both, both]);
    scene.isUnlisted = false;
    list('kept');
    assert.deepEqual(names(), [['kept.example'], ['kept.example']]);
  });
});
