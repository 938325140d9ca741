import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { createAddressRule } from '../../client/address-rule.ts';
import { webContext } from '../../client/bundle-endpoint.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { type AttemptNeeds, type Known, tryToGet } from '../../signer/federation/attempt.ts';
import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { federationStatus } from '../../signer/federation/federation-status.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { failure } from '../../spiffe/pki/result.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type ServerCredentials, webCredentials } from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';

const trustDomain = 'partner.example';

/** A real endpoint, which may know ETags, and a resource whose status is what the attempts before it wrote. */
describe('getting a bundle again', () => {
  let web: ServerCredentials;
  let close = () => undefined as unknown;
  let url = '';
  let body = '';
  let etag: string | undefined;
  let bodies = 0;
  let now = Math.floor(Date.now() / 1000);
  const bundleOf = async (sequence: number) => {
    const compiled = compilePool({ ...(await aPool({ trustDomain })), sequence }, trustDomain);
    assert.ok(compiled.ok);
    return String(spiffeBundleDocument(compiled.pool, 300)?.bytes);
  };

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
    ...{ ownTrustDomain: 'example.org', resourceOf: () => undefined, ownAuthorityIn: () => undefined },
    addresses: createAddressRule([{ address: '127.0.0.0', prefix: 8 }]),
    readTrustBundle: async () => failure('there is none'),
    webContext,
    now: () => now,
  };
  /** Attempts, each with what the one before left behind. */
  function attempts(
    change: (status: Record<string, unknown>) => Record<string, unknown> = (status) => status,
  ) {
    let status: Record<string, unknown> = {};
    let known: Known | undefined;
    return async () => {
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
        needs,
        AbortSignal.timeout(20_000),
      );
      const at = { now, next: now + 300, intervalSeconds: 300, clusterTrustBundle: 'peer' };
      status = { ...status, ...federationStatus(resource, attempt.outcome, at) };
      ({ known } = attempt);
      return { kind: attempt.outcome.kind, status };
    };
  }

  for (const tag of ['"one"', undefined]) {
    it(`confirms what is held ${tag ? 'by its ETag' : 'where the same bytes come'}, and takes what is new`, async () => {
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

  it('reads it again where somebody changed the status, or a root has expired since', async () => {
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
    assert.deepEqual([expired.kind, expired.status.x509Keys], ['taken', 0]);
  });
});
