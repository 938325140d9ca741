import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { poolLimits } from '../../signer/authority/document.ts';
import { issuerUrl } from '../../signer/config/address-values.ts';
import { identify } from '../../signer/identity/identify.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import type { Seen } from './clouds/demands.ts';
import { relyingParties, unmet } from './clouds/parties.ts';
import { describeScripts } from './clouds/scripts.ts';
import {
  installTokenEndpoint,
  jwtIssuer,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

const rs256Only = relyingParties.filter(({ name }) => name !== 'Vault').map(({ audience }) => audience);

/** The documents and tokens of a real signer, held against what clouds say they demand. No cloud is asked. */
describe('clouds', () => {
  let controlPlane: ControlPlane;
  let endpoint: TokenSigner;

  before(async () => {
    controlPlane = await startControlPlane();
    endpoint = await startTokenSigner(await installTokenEndpoint(controlPlane), {
      flags: ['--jwt-rs256-audiences', rs256Only.join(',')],
      names: [new URL(jwtIssuer).host],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  /** What a relying party sees: the two documents, and a token for its audience. */
  async function look(audience: string): Promise<Seen> {
    const discovery = await endpoint.call({ path: '/.well-known/openid-configuration' });
    // Where the document says that the keys are, without the front that makes us public.
    const jwksUri = String(discovery.json.jwks_uri);
    assert.ok(jwksUri.startsWith(jwtIssuer), jwksUri);
    const keys = await endpoint.call({ path: jwksUri.slice(jwtIssuer.length) });
    const pod = await createPod(controlPlane);
    const answer = await endpoint.exchange(await tokenFor(controlPlane, pod), { audience });
    assert.deepEqual([discovery.status, keys.status, answer.status], [200, 200, 200], answer.text);
    const token = String(answer.json.access_token);
    const set = keys.json as unknown as JSONWebKeySet;
    const { payload } = await jwtVerify(token, createLocalJWKSet(set), { issuer: jwtIssuer, audience });
    return {
      issuer: jwtIssuer,
      discovery: discovery.json,
      keys: set.keys as unknown as Seen['keys'],
      header: { ...decodeProtectedHeader(token) },
      claims: payload,
      tokenLength: token.length,
      now: Math.floor(Date.now() / 1000),
    };
  }

  for (const party of relyingParties) {
    describe(party.name, () => {
      let seen: Seen;
      before(async () => {
        seen = await look(party.audience);
      });

      for (const requirement of party.requirements) {
        it(`${party.name} sees that ${requirement.demand}`, () => {
          assert.ok(requirement.holds(seen), `${requirement.source}: ${JSON.stringify(seen)}`);
          // A demand that nothing could break would prove nothing.
          assert.equal(requirement.holds(requirement.broken(seen)), false);
        });
      }

      it(`${party.name} gets a token with the algorithm of its audience, and accepts it`, () => {
        assert.equal(seen.header.alg, party.name === 'Vault' ? 'ES256' : 'RS256');
        assert.ok(party.algorithms.includes(String(seen.header.alg)));
      });
    });
  }

  describeScripts(() => ({ controlPlane, endpoint }));

  it('clouds can get the documents through a front that caches them', async () => {
    for (const path of ['/.well-known/openid-configuration', '/keys']) {
      const { headers } = await endpoint.call({ path, headers: { host: 'front.example.net' } });
      assert.match(String(headers['content-type']), /json/);
      assert.match(String(headers['cache-control']), /^public, max-age=\d+$/);
      assert.ok(headers.etag);
    }
  });
});

describe('the settings', () => {
  for (const issuer of [
    'https://id.example.org',
    'https://id.example.org/clusters/one',
    'https://bucket.s3.eu-central-1.amazonaws.com/prod',
  ]) {
    it(`the settings accept the issuer ${issuer}`, () => assert.ok(issuerUrl.parse(issuer).ok));
  }

  for (const [what, issuer] of [
    ['http', 'http://id.example.org'],
    ['a final /, which Vault takes off and others do not', 'https://id.example.org/'],
    ['a query', 'https://id.example.org?cluster=one'],
    ['a fragment', 'https://id.example.org#one'],
    ['a user', 'https://me@id.example.org'],
    ['white space around it', ' https://id.example.org'],
    ['capital letters, since the comparison is letter for letter', 'https://ID.example.org'],
  ] as const) {
    it(`the settings refuse an issuer with ${what}`, () => assert.equal(issuerUrl.parse(issuer).ok, false));
  }
});

describe('a SPIFFE ID as sub', () => {
  const subjectOf = (namespace: string, serviceAccountName: string) => {
    const identity = identify({ namespace, serviceAccountName }, { trustDomain: 'prod.example.com' });
    assert.ok(identity.ok);
    return identity.subject.display;
  };
  const bare = subjectOf('n', 'a').length - 1;
  const refusers = (sub: string) =>
    relyingParties
      .filter(({ maxSubjectBytes }) => Buffer.byteLength(sub) > (maxSubjectBytes ?? Number.POSITIVE_INFINITY))
      .map(({ name }) => name);

  for (const [length, expected] of [
    [127, []],
    [128, ['Google Cloud Workload Identity Federation']],
    [255, ['Google Cloud Workload Identity Federation']],
    [256, ['Google Cloud Workload Identity Federation', 'AWS IAM']],
  ] as const) {
    it(`a SPIFFE ID of ${length} bytes as sub is refused by ${expected.join(' and ') || 'none'}`, () => {
      const sub = subjectOf('n', 'a'.repeat(length - bare));
      assert.equal(Buffer.byteLength(sub), length);
      assert.deepEqual(refusers(sub).sort(), [...expected].sort());
    });
  }

  it('a SPIFFE ID of the longest Kubernetes names is too long for some clouds, as the guides say', () => {
    assert.deepEqual(refusers(subjectOf('n'.repeat(63), 'a'.repeat(253))).sort(), [
      'AWS IAM',
      'Google Cloud Workload Identity Federation',
    ]);
    assert.deepEqual(refusers(subjectOf('shop', 'web')), []);
  });
});

describe('a pool', () => {
  it('a pool cannot have more keys than AWS reads', () => {
    assert.ok(poolLimits.authorities <= 100);
  });
});

it('the check of demands names every broken one with its source', () => {
  for (const party of relyingParties) {
    const nothing: Seen = {
      issuer: 'http://id.example.org:1',
      discovery: {},
      keys: [],
      header: {},
      claims: {},
      tokenLength: 0,
      now: 0,
    };
    const problems = unmet(party, nothing);
    assert.ok(problems.length > 8);
    assert.ok(problems.every((problem) => / \(.+\)$/.test(problem)));
  }
});
