import 'reflect-metadata';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddressRule } from '../../client/address-rule.ts';
import type { OwnAuthorities } from '../../signer/federation/attempt.ts';
import {
  type FederatedTrustDomain,
  followedTrustDomains,
  readFederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import { createRefresher } from '../../signer/federation/refresher.ts';
import { createStore } from '../../signer/kube/store.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { failure } from '../../spiffe/pki/result.ts';
import { makeCa } from '../authority/authorities.ts';
import { createFakeTime } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { onlyMember } from '../trust/membership.ts';
import { x509KeyOf } from './bundles.ts';

test('nothing is taken while our own authorities are not known, and soon after they are', async () => {
  const time = createFakeTime(Date.now());
  const now = Math.floor(time.now() / 1000);
  const ca = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, uris: [] });
  const api = createScriptedApi();
  const spec = followedTrustDomains(() => undefined);
  const store = createStore<FederatedTrustDomain>({ time, indexes: spec.indexes ?? {} });
  const wire = {
    metadata: { name: 'partner', uid: 'u', resourceVersion: '1', generation: 1 },
    spec: { trustDomain: 'partner.example', bundle: JSON.stringify({ keys: [x509KeyOf(ca)] }) },
  };
  store.replace([['partner', readFederatedTrustDomain(wire)]]);
  const warnings: string[] = [];
  let pool: OwnAuthorities | undefined;
  const refresher = createRefresher({
    ...{ ownTrustDomain: 'example.org', membership: onlyMember, time, transport: api.transport },
    ...{ resources: { spec, store, synced: store.synced }, bundleNameOf: () => 'peer', pool: () => pool },
    addresses: createAddressRule([]),
    readTrustBundle: async () => failure('there is none'),
    ...{ events: { record: () => undefined }, metrics: createMetrics() },
    log: { info() {}, warn: (_fields: object, text?: string) => void warnings.push(text ?? '') },
  });
  const stopping = new AbortController();
  const running = refresher.run(stopping.signal);
  await time.advance(120_000);
  assert.equal(api.requests.length, 0);
  assert.deepEqual(warnings, [], 'a thousand resources would each say it');
  pool = { jwt: [], authorities: [], roots: [] };
  await time.advance(2_000);
  assert.match(JSON.stringify(api.requests), /"x509Keys":1/);
  stopping.abort();
  await running;
});
