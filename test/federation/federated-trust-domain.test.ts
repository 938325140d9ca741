import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { countingOnes, readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { federationRows } from '../manifests/federation-rows.ts';

const metadata = {
  ...{ name: 'partner', uid: 'u', resourceVersion: '7', generation: 2 },
  creationTimestamp: '2026-11-29T12:00:00Z',
};

describe('reading a FederatedTrustDomain', () => {
  for (const { what, spec, problem } of federationRows) {
    it(`a FederatedTrustDomain is accepted or refused with a reason: ${what}`, () => {
      const { origin } = readFederatedTrustDomain({ metadata, spec });
      if (problem === undefined) assert.ok(origin.ok, origin.ok ? '' : origin.reason);
      else assert.ok(!origin.ok && origin.reason.startsWith(problem), origin.ok ? 'accepted' : origin.reason);
    });
  }

  it('reading a FederatedTrustDomain keeps all its fields', () => {
    const { origin, ...rest } = readFederatedTrustDomain({
      metadata: { ...metadata, annotations: { 'kubespiffe.io/refresh': 'now' } },
      spec: {
        trustDomain: 'partner.example',
        bundleEndpoint: {
          url: 'https://partner.example/b',
          profile: 'https_spiffe',
          endpointSPIFFEID: 'spiffe://partner.example/endpoint',
        },
        bootstrapBundle: '{}',
        refreshHint: { min: '1m', max: '1h' },
        paused: true,
      },
      status: { sequence: 7 },
    });
    assert.deepEqual(rest, {
      ...{ name: 'partner', uid: 'u', resourceVersion: '7', generation: 2 },
      createdAt: '2026-11-29T12:00:00Z',
      ...{ trustDomain: 'partner.example', isSelf: false, isPaused: true, refreshRequest: 'now' },
      ...{ refresh: { minSeconds: 60, maxSeconds: 3600 }, status: { sequence: 7 } },
    });
    assert.ok(origin.ok && origin.value.kind === 'https_spiffe');
    assert.equal(origin.value.url.href, 'https://partner.example/b');
    assert.equal(origin.value.endpointId.uri, 'spiffe://partner.example/endpoint');
    assert.equal(origin.value.bootstrapBundle, '{}');
  });

  it('a FederatedTrustDomain keeps the spec that was read last until its generation or the object changes', () => {
    const spec = (trustDomain: string) => ({ trustDomain, clusterTrustBundle: 'theirs' });
    const last = readFederatedTrustDomain({ metadata, spec: spec('partner.example') });
    const next = (changed: object, trustDomain: string) =>
      readFederatedTrustDomain(
        { metadata: { ...metadata, ...changed }, spec: spec(trustDomain), status: { sequence: 8 } },
        (name) => (name === last.name ? last : undefined),
      );
    const same = next({ resourceVersion: '8' }, 'partner.example');
    assert.equal(same.origin, last.origin);
    assert.deepEqual(same, { ...last, resourceVersion: '8', status: { sequence: 8 } });
    for (const changed of [{ generation: 3 }, { uid: 'v' }, { name: 'other' }]) {
      assert.equal(next(changed, 'other.example').trustDomain, 'other.example');
    }
  });

  it('a host with other letters is connected by its ASCII form, so that only DNS decides what it is', () => {
    const { origin } = readFederatedTrustDomain({
      metadata: { name: 'partner' },
      spec: {
        trustDomain: 'partner.example',
        bundleEndpoint: { url: 'https://b\u00fcndel.partner.example/', profile: 'https_web' },
      },
    });
    assert.ok(origin.ok && origin.value.kind === 'https_web');
    assert.equal(origin.value.url.hostname, 'xn--bndel-kva.partner.example');
  });

  it('a FederatedTrustDomain with an unknown field is refused by name, because it may restrict others', () => {
    const { origin } = readFederatedTrustDomain({
      metadata,
      spec: { trustDomain: 'partner.example', bundle: '{}', onlyFor: ['shop'] },
    });
    assert.ok(!origin.ok);
    assert.match(origin.reason, /^spec has "onlyFor", which this version of the signer does not know/);
  });

  it('a FederatedTrustDomain for a trust domain of kubespiffe dev is refused', () => {
    for (const trustDomain of ['dev.localhost', 'team.dev.localhost']) {
      const { origin } = readFederatedTrustDomain({ metadata, spec: { trustDomain, bundle: '{}' } });
      assert.ok(!origin.ok);
      assert.match(origin.reason, /^spec\.trustDomain is .*dev\.localhost, for which everyone/);
    }
  });

  it('reading any object as a FederatedTrustDomain never throws', () => {
    const anything = fc.anything({ maxDepth: 4 });
    const ofOurs = fc.record(
      { trustDomain: anything, bundleEndpoint: anything, bundle: anything, refreshHint: anything },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(anything, fc.oneof(anything, ofOurs), anything, (metadata, spec, status) => {
        assert.equal(typeof readFederatedTrustDomain({ metadata, spec, status }).trustDomain, 'string');
      }),
    );
  });
});

describe('several resources for one trust domain', () => {
  const named = (name: string, createdAt: string, trustDomain = 'partner.example') =>
    readFederatedTrustDomain({
      metadata: { ...metadata, name, creationTimestamp: createdAt },
      spec: { trustDomain, bundle: '{}' },
    });

  it('the FederatedTrustDomain that was created first counts, or the first by name, in any order of arrival', () => {
    const all = [
      named('late', '2026-11-29T12:00:01Z'),
      named('b', '2026-11-29T12:00:00Z'),
      named('a', '2026-11-29T12:00:00Z'),
      named('other', '2026-11-29T12:00:09Z', 'other.example'),
      named('unreadable', '2026-11-29T11:00:00Z', 'Not A Name'),
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
        const counting = [...countingOnes(shuffled)].map(([trustDomain, { name }]) => [trustDomain, name]);
        assert.deepEqual(counting.sort(), [
          ['other.example', 'other'],
          ['partner.example', 'a'],
        ]);
      }),
    );
  });
});
