import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  type FederatedTrustDomain,
  followedTrustDomains,
  readFederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import { federationStatus } from '../../signer/federation/federation-status.ts';
import {
  type ForeignBundle,
  printForeignBundle,
  readForeignBundle,
} from '../../signer/federation/foreign-bundle.ts';
import { createPeerBundles } from '../../signer/federation/peer-bundles.ts';
import { createJsonReader, type Fields } from '../../signer/kube/json-reader.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { bundlesOf, type ObservedBundle } from '../../signer/trust/bundle.ts';
import { makeCa } from '../authority/authorities.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { timeWith } from '../kube/fake-time.ts';
import { x509KeyOf } from './bundles.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

const signerName = 'kubespiffe.io/spiffe';
const now = Math.floor(Date.now() / 1000);
let caBundle: string;
let bundle: ForeignBundle;
before(async () => {
  caBundle = (await webCredentials()).cert;
  const ca = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, uris: [] });
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwtKey = { ...publicKey.export({ format: 'jwk' }), use: 'jwt-svid', kid: 'a'.repeat(43) };
  const document = { keys: [x509KeyOf(ca), jwtKey], spiffe_sequence: 1, spiffe_refresh_hint: 300 };
  const read = readForeignBundle(JSON.stringify(document), 'partner.example', now);
  assert.ok(read.ok);
  bundle = read.value;
});

/** What is read of an object with the version v1. */
interface Readable<Wire, T> {
  readonly fields: Fields;
  project(wire: Wire, version: 'v1'): T | undefined;
}

/** A peer as the API server sends it after so many attempts. */
function peer(index: number, attempts: number) {
  const trustDomain = `partner-${index}.example`;
  const metadata = {
    ...{ name: `partner-${index}`, uid: randomUUID(), generation: 1 },
    ...{ resourceVersion: String(index + attempts * 100_000), creationTimestamp: '2026-11-30T02:00:00Z' },
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': caBundle },
  };
  const spec = {
    trustDomain,
    bundleEndpoint: { url: `https://${trustDomain}/bundle`, profile: 'https_web', caBundle },
  };
  const status = federationStatus(
    readFederatedTrustDomain({ metadata, spec }),
    { kind: 'taken', bundle, text: printForeignBundle(bundle), isChanged: true, hasOtherKeys: false },
    { now: now + attempts, next: now + 300, intervalSeconds: 300, clusterTrustBundle: `peer.${trustDomain}` },
  );
  return { metadata, spec, status };
}

function read<Wire, T>({ fields, project }: Readable<Wire, T>, wire: object): T {
  const reader = createJsonReader(fields);
  reader.push(Buffer.from(JSON.stringify(wire)));
  return project(reader.end() as Wire, 'v1') ?? assert.fail();
}

/** What a replica keeps of so many peers, each of which was confirmed a second time. */
function keep(count: number) {
  const spec = followedTrustDomains((name) => store.get(name));
  const store = createStore<FederatedTrustDomain>({ time: realTime, indexes: spec.indexes ?? {} });
  const observed = createStore<ObservedBundle>({ time: realTime });
  const peers = createPeerBundles({
    ...{ signerName, trustDomain: 'example.org', time: timeWith({ now: () => now * 1000 }) },
    resources: { spec, store, isUnlisted: () => false },
    transport: { request: () => assert.fail() },
  });
  store.replace([]);
  for (const attempts of [1, 2])
    for (let index = 0; index < count; index += 1)
      store.set(`partner-${index}`, read(spec, peer(index, attempts)));
  const desired = peers.desired();
  assert.ok(desired.ok);
  for (const [name, bundle] of desired.value) {
    assert.ok(bundle.ok);
    const { labels, annotations, trustBundle } = bundle.value;
    const wire = { metadata: { name, labels, annotations, resourceVersion: '1' }, spec: { trustBundle } };
    observed.set(name, read(bundlesOf(signerName), wire));
  }
  return { peers, observed };
}

test('a peer takes at most 9,000 bytes, with its ClusterTrustBundle, also after its bundle was confirmed', (t) => {
  const count = 300;
  // Compiled code and the like is there once.
  const first = keep(50);
  const before = heapUsed();
  const { peers, observed } = keep(count);
  const bytes = (heapUsed() - before) / count;
  t.diagnostic(`${bytes.toFixed(0)} bytes`);
  assert.ok(bytes <= 9_000, `${bytes.toFixed(0)} bytes`);
  assert.deepEqual([peers.documents()?.size, observed.size, first.observed.size], [count, count, 50]);
});
