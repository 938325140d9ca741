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

async function startRefresher(specs: Readonly<Record<string, object>>) {
  const time = createFakeTime(Date.now());
  const now = Math.floor(time.now() / 1000);
  const ca = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, uris: [] });
  const api = createScriptedApi();
  const spec = followedTrustDomains(() => undefined);
  const store = createStore<FederatedTrustDomain>({ time, indexes: spec.indexes ?? {} });
  const resources = Object.entries(specs).map(([name, each]) => {
    const trustDomain = `${name}.example`;
    return readFederatedTrustDomain({
      metadata: { name, uid: name, resourceVersion: '1', generation: 1 },
      spec: { trustDomain, bundle: JSON.stringify({ keys: [x509KeyOf(ca)] }), ...each },
    });
  });
  store.replace(resources.map((each) => [each.name, each]));
  const warnings: string[] = [];
  const own: { pool?: OwnAuthorities } = {};
  const refresher = createRefresher({
    ...{ ownTrustDomain: 'example.org', membership: onlyMember, time, transport: api.transport },
    ...{ resources: { spec, store, synced: store.synced }, bundleNameOf: () => 'peer', pool: () => own.pool },
    addresses: createAddressRule([]),
    readTrustBundle: async () => failure('there is none'),
    ...{ events: { record: () => undefined }, metrics: createMetrics() },
    log: { info() {}, warn: (_fields: object, text?: string) => void warnings.push(text ?? '') },
  });
  const stopping = new AbortController();
  const running = refresher.run(stopping.signal);
  return {
    ...{ time, api, warnings, own },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

const noAuthorities: OwnAuthorities = { jwt: [], authorities: [], roots: [] };

test('no bundle is taken while our own authorities are unknown, and soon after they are known', async () => {
  const { time, api, warnings, own, stop } = await startRefresher({ partner: {} });
  await time.advance(120_000);
  assert.equal(api.requests.length, 0);
  assert.deepEqual(warnings, [], 'a thousand resources would each say it');
  own.pool = noAuthorities;
  await time.advance(2_000);
  assert.match(JSON.stringify(api.requests), /"x509Keys":1/);
  await stop();
});

test('attempts that are due within five seconds are made together, none before its shortest interval', async () => {
  const every = (max: string, min = '30s') => ({ refreshHint: { min, max } });
  const { time, api, own, stop } = await startRefresher({
    ...{ first: every('60s'), soon: every('63s'), later: every('70s'), bounded: every('64s', '64s') },
  });
  own.pool = noAuthorities;
  await time.advance(2_000);
  assert.equal(api.requests.length, 4);
  const attempted = async (ms: number) => {
    const before = api.requests.length;
    await time.advance(ms);
    return api.requests.slice(before).map(({ path }) => path.split('/').at(-2));
  };
  assert.deepEqual(await attempted(56_000), []);
  assert.deepEqual(await attempted(3_000), ['first', 'soon']);
  assert.deepEqual(await attempted(4_000), ['bounded']);
  assert.deepEqual(await attempted(4_000), []);
  assert.deepEqual(await attempted(2_000), ['later']);
  await stop();
});
