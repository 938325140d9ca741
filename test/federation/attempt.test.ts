import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { createAddressRule } from '../../client/address-rule.ts';
import { webContext } from '../../client/bundle-endpoint.ts';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import {
  type AttemptNeeds,
  type Known,
  type OwnAuthorities,
  tryToGet,
} from '../../signer/federation/attempt.ts';
import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { federationStatus } from '../../signer/federation/federation-status.ts';
import { realTime } from '../../signer/kube/time.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { failure } from '../../spiffe/pki/result.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { makeCa } from '../authority/authorities.ts';
import { type ServerCredentials, serve, svidOf, webCredentials } from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';
import { timeWith } from '../kube/fake-time.ts';
import { x509KeyOf } from './bundles.ts';

const trustDomain = 'partner.example';

async function poolOf(sequence: number, name = trustDomain): Promise<Pool> {
  const compiled = compilePool({ ...(await aPool({ trustDomain: name })), sequence }, name);
  assert.ok(compiled.ok);
  return compiled.pool;
}
const none: OwnAuthorities = { jwt: [], authorities: [], roots: [] };
const documentOf = (pool: Pool) => String(spiffeBundleDocument(pool, 300)?.bytes);

/** A real endpoint, which may know ETags, and a resource whose status is what the attempts before it wrote. */
describe('getting a bundle again', () => {
  let web: ServerCredentials;
  let close = () => undefined as unknown;
  let url = '';
  let body = '';
  let etag: string | undefined;
  let bodies = 0;
  let now = Math.floor(Date.now() / 1000);
  const bundleOf = async (sequence: number) => documentOf(await poolOf(sequence));

  before(async () => {
    web = await webCredentials();
    const server = createServer(web, ({ headers }, response) => {
      if (etag !== undefined) response.setHeader('etag', etag);
      if (etag !== undefined && headers['if-none-match'] === etag) return void response.writeHead(304).end();
      bodies += 1;
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    close = () => server.close();
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  after(() => close());

  const needs: AttemptNeeds = {
    ...{ ownTrustDomain: 'example.org', resourceOf: () => undefined, pool: none },
    addresses: createAddressRule([{ address: '127.0.0.0', prefix: 8 }]),
    readTrustBundle: async () => failure('there is none'),
    webContext,
    time: timeWith({ now: () => now * 1000 }),
  };
  /** Attempts, each with what the one before left behind. */
  function attempts(
    change: (status: Record<string, unknown>) => Record<string, unknown> = (status) => status,
  ) {
    let status: Record<string, unknown> = {};
    let known: Known | undefined;
    let own = none;
    return async (pool = own) => {
      own = pool;
      const resource = readFederatedTrustDomain({
        metadata: { name: 'partner', uid: 'u', generation: 1 },
        spec: { trustDomain, bundleEndpoint: { url, profile: 'https_web', caBundle: web.cert } },
        status: change(status),
      });
      assert.ok(resource.origin.ok);
      const attempt = await tryToGet(
        resource,
        resource.origin.value,
        known,
        { ...needs, pool: own },
        AbortSignal.timeout(20_000),
      );
      const at = { now, next: now + 300, intervalSeconds: 300, clusterTrustBundle: 'peer' };
      status = { ...status, ...federationStatus(resource, attempt.outcome, at) };
      ({ known } = attempt);
      const { outcome } = attempt;
      return { kind: outcome.kind, status, hasOtherKeys: outcome.kind === 'taken' && outcome.hasOtherKeys };
    };
  }

  for (const tag of ['"one"', undefined]) {
    it(`an attempt confirms a bundle ${tag ? 'by its ETag' : 'with the same bytes'}, and takes a new one`, async () => {
      [body, etag, bodies] = [await bundleOf(1), tag, 0];
      const next = attempts();
      const first = await next();
      assert.deepEqual([first.kind, first.status.sequence], ['taken', 1]);
      now += 300;
      const second = await next();
      assert.deepEqual([second.kind, bodies], ['confirmed', tag ? 1 : 2]);
      assert.equal(second.status.lastSuccessTime, rfc3339(now));
      for (const member of [
        'bundle',
        'sequence',
        'x509Keys',
        'jwtKeys',
        'firstExpiryTime',
        'clusterTrustBundle',
      ])
        assert.equal(second.status[member], first.status[member], member);
      assert.match(JSON.stringify(second.status.conditions), /held: sequence 1, X\.509 roots: 1/);
      [body, etag] = [await bundleOf(2), tag && '"two"'];
      const third = await next();
      assert.deepEqual([third.kind, third.status.sequence], ['taken', 2]);
    });
  }

  it('a bundle that was confirmed before is refused once one of its authorities is in our own pool', async () => {
    const pool = await poolOf(1);
    [body, etag] = [documentOf(pool), '"own"'];
    const next = attempts();
    assert.equal((await next()).kind, 'taken');
    assert.equal((await next()).kind, 'confirmed');
    const refused = await next(pool);
    assert.equal(refused.kind, 'failed');
    assert.match(JSON.stringify(refused.status.conditions), /BundleHasOwnAuthority/);
  });

  it('an attempt returns whether the keys have changed, not only the sequence', async () => {
    const pool = await poolOf(1);
    const changed = async (next: Awaited<ReturnType<typeof poolOf>>) => {
      [body, etag] = [documentOf(pool), undefined];
      const attempt = attempts();
      assert.equal((await attempt()).hasOtherKeys, false, 'the first ones are no change');
      body = documentOf(next);
      return (await attempt()).hasOtherKeys;
    };
    assert.equal(await changed({ ...pool, sequence: 2 }), false);
    assert.equal(await changed(await poolOf(2)), true);
  });

  it('a bundle is read again if the status was changed, or a root has expired since', async () => {
    [body, etag] = [await bundleOf(3), '"three"'];
    const tampered = attempts((status) =>
      'bundle' in status ? { ...status, bundle: '{"keys":[]}' } : status,
    );
    assert.equal((await tampered()).kind, 'taken');
    assert.equal((await tampered()).kind, 'taken');
    const next = attempts();
    assert.equal((await next()).kind, 'taken');
    const before = now;
    now += 100 * 365 * 24 * 3600;
    const expired = await next();
    now = before;
    assert.equal(expired.kind, 'failed');
    assert.match(JSON.stringify(expired.status.conditions), /all of its roots \(1\) have expired/);
  });
});

describe('a bundle of another trust domain that is our own', () => {
  const now = Math.floor(Date.now() / 1000);
  const keyOf = (kid: string) => ({
    ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
    ...{ kid, use: 'jwt-svid' },
  });
  const root = async () => makeCa({ notBefore: now - 60, notAfter: now + 3600, uris: [] });

  async function reasonOf(keys: readonly object[], pool: Partial<OwnAuthorities>): Promise<string> {
    const resource = readFederatedTrustDomain({
      metadata: { name: 'partner', uid: 'u', generation: 1 },
      spec: { trustDomain, bundle: JSON.stringify({ keys }) },
    });
    assert.ok(resource.origin.ok);
    const { outcome } = await tryToGet(
      ...([resource, resource.origin.value, undefined] as const),
      {
        ...{ ownTrustDomain: 'example.org', resourceOf: () => undefined, pool: { ...none, ...pool } },
        addresses: createAddressRule([]),
        readTrustBundle: async () => failure('there is none'),
        ...{ webContext, time: timeWith({ now: () => now * 1000 }) },
      },
      AbortSignal.timeout(20_000),
    );
    return outcome.kind === 'failed' ? `${outcome.reason}: ${outcome.detail}` : outcome.kind;
  }
  const factsOf = ({ certificate }: Awaited<ReturnType<typeof root>>) =>
    ({
      sha256Hex: new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase(),
    }) as never;

  it('a foreign bundle with a JWT key of ours is refused', async () => {
    const keys = [x509KeyOf(await root()), keyOf('ours')];
    assert.equal(
      await reasonOf(keys, { jwt: [{ kid: 'ours' } as never] }),
      'BundleHasOwnAuthority: the JWT key ours',
    );
    assert.equal(await reasonOf(keys, { jwt: [{ kid: 'other' } as never] }), 'taken');
  });

  it('a foreign bundle with a CA of ours is refused', async () => {
    const [ours, other] = [await root(), await root()];
    const authorities = [{ id: 'ca-1', signing: factsOf(ours) } as never];
    const reason = 'BundleHasOwnAuthority: the CA ca-1';
    assert.equal(await reasonOf([x509KeyOf(other), x509KeyOf(ours)], { authorities }), reason);
    assert.equal(await reasonOf([x509KeyOf(other)], { authorities }), 'taken');
  });

  it('a foreign bundle with nothing but a root above our CAs is refused', async () => {
    const [ours, other] = [await root(), await root()];
    const roots = [factsOf(ours)];
    const reason = 'BundleHasOwnAuthority: no other root than those (1)';
    assert.equal(await reasonOf([x509KeyOf(ours)], { roots }), reason);
    for (const more of [keyOf('theirs'), x509KeyOf(other)])
      assert.equal(await reasonOf([x509KeyOf(ours), more], { roots }), 'taken');
  });
});

/** Endpoints with an SVID of another trust domain than the bundle that they serve. */
describe('an endpoint ID of another trust domain', () => {
  const signerOf = (pool: Pool) => {
    const signing = signingAuthorityAt(pool, Math.floor(Date.now() / 1000), 0);
    assert.ok(signing.ok);
    return signing.authority;
  };
  const resource = (name: string, url: string, endpointDomain: string, status: object = {}) =>
    readFederatedTrustDomain({
      metadata: { name, uid: name, generation: 1 },
      spec: {
        trustDomain: name,
        bundleEndpoint: {
          ...{ url, profile: 'https_spiffe', endpointSPIFFEID: `spiffe://${endpointDomain}/endpoint` },
        },
      },
      status,
    });

  /** What comes of fetching the bundle of partner.example from an endpoint of another one, of which `held` is known. */
  async function fetchFrom(endpointDomain: string, held?: Pool) {
    const host = held ?? (await poolOf(1, endpointDomain));
    const server = await serve(await svidOf(signerOf(host), ['endpoint']), {
      '/': { body: documentOf(await poolOf(7)) },
    });
    const each = resource(trustDomain, `${server.url}/`, endpointDomain);
    const other = held && resource(endpointDomain, server.url, endpointDomain, { bundle: documentOf(held) });
    assert.ok(each.origin.ok);
    const { outcome } = await tryToGet(
      each,
      each.origin.value,
      undefined,
      {
        ...{ ownTrustDomain: 'example.org', pool: none },
        resourceOf: (name) => (name === endpointDomain ? other : undefined),
        addresses: createAddressRule([{ address: '127.0.0.0', prefix: 8 }]),
        readTrustBundle: async () => failure('there is none'),
        webContext,
        time: realTime,
      },
      AbortSignal.timeout(20_000),
    );
    await server.close();
    return outcome;
  }

  it('an endpoint of another trust domain is verified by the bundle of that trust domain', async () => {
    const host = await poolOf(1, 'host.example');
    const outcome = await fetchFrom('host.example', host);
    assert.ok(outcome.kind === 'taken', outcome.kind === 'failed' ? outcome.detail : '');
    assert.equal(outcome.bundle.sequence, 7);
  });

  it('an endpoint of another trust domain cannot be verified without a bundle of that trust domain', async () => {
    const outcome = await fetchFrom('host.example');
    assert.ok(outcome.kind === 'failed');
    assert.deepEqual(
      [outcome.reason, outcome.detail],
      ['EndpointUnverifiable', 'no bundle of host.example is held'],
    );
  });

  it('an endpoint ID of our own trust domain is refused, although its roots are known', async () => {
    const outcome = await fetchFrom('example.org', await poolOf(1, 'example.org'));
    assert.ok(outcome.kind === 'failed');
    assert.equal(outcome.reason, 'EndpointUnverifiable');
    assert.match(outcome.detail, /endpointSPIFFEID is of example\.org, the trust domain of this cluster/);
  });
});
