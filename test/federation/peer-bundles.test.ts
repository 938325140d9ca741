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
import type { ObservedBundle } from '../../signer/trust/bundle.ts';
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

/** A replica that sees resources and ClusterTrustBundles, and an API server that has these resources. */
function aReplica(...existing: string[]) {
  const time = createFakeTime(now * 1000);
  const api = createScriptedApi();
  const spec = followedTrustDomains(() => undefined);
  const store = createStore<FederatedTrustDomain>({ time, indexes: spec.indexes ?? {} });
  const observed = createStore<ObservedBundle>({ time });
  const scene = { time, store, observed, isUnlisted: false, existing: new Set(existing) };
  const peers = createPeerBundles({
    ...{
      signerName: 'kubespiffe.io/spiffe',
      trustDomain: 'example.org',
      time: timeWith({ now: () => now * 1000 }),
    },
    resources: { spec, store, isUnlisted: () => scene.isUnlisted },
    transport: api.transport,
  });
  const wireOf = (name: string) => ({
    metadata: { name, uid: name, resourceVersion: '1', generation: 1 },
    spec: { trustDomain: `${name}.example`, bundle },
    status: { bundle },
  });
  api.answer = ({ method, path }) => {
    const name = path.split('/').at(-1) ?? '';
    if (method === 'GET' && scene.existing.has(name)) return { status: 200, body: wireOf(name) };
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
  const list = (...names: string[]) =>
    store.replace(names.map((name) => [name, readFederatedTrustDomain(wireOf(name))] as const));
  return {
    ...{ scene, peers, list },
    /** The bundles that these resources have, as the publisher writes them. */
    published: (...names: string[]) => {
      const other = aReplicaOf(...names).desired();
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

function aReplicaOf(...names: string[]) {
  const { peers, list } = aReplica(...names);
  list(...names);
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
      scene.existing.delete('revoked');
      replica.list('kept');
      await scene.time.advance(10_000);
      assert.deepEqual(new Set(replica.deleted()), new Set([pathOf('revoked')]));
    });
  });

  it('documents and roots stay while the resource is not served, and follow the resources afterwards', () => {
    const { scene, peers, list } = aReplica();
    list('kept', 'revoked');
    const names = () => [peers.documents(), peers.roots() ?? new Map()].map((map) => [...map.keys()].sort());
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
