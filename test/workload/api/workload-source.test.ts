import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import { fetchJwtSvid } from '../../../workload/api/methods.ts';
import { createWorkloadSource } from '../../../workload/api/workload-source.ts';
import { cacheTokens } from '../../../workload/jwt-cache.ts';
import { openX509Source, type X509Source } from '../../../workload/x509-source.ts';
import { credentialsFor, newVolume, swap } from '../credentials.ts';
import { jwtSvid, makeTrustDomain, type TestTrustDomain } from './workload.ts';

const oldId = 'spiffe://example.org/ns/shop/sa/web';
const newId = 'spiffe://example.org/web';
const podId = 'spiffe://example.org/pod/web';

let folder: string;
let home: TestTrustDomain;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'workload-source-'));
  home = await makeTrustDomain('example.org');
});
after(() => rm(folder, { recursive: true, force: true }));

const filesFor = async (id: string) => ({
  'credentials.pem': (await credentialsFor(id, home.ca)).pem,
  'roots.pem': home.ca.pem,
});

/** A token endpoint that gives each certificate the name that the test has put in. Counts what it gave. */
function createEndpoint() {
  const named = new Map<string, string>();
  const given: string[] = [];
  return {
    given,
    name: (certified: string, name: string) => named.set(certified, name),
    tokensOf: (source: X509Source) => {
      const ask = async (audience: string | readonly string[]) => {
        const certified = source.svid.id.uri;
        const sub = named.get(certified) ?? certified;
        given.push(sub);
        return { token: jwtSvid(home, { sub, aud: [audience].flat() }) };
      };
      return cacheTokens(ask, 'the endpoint of the test', {});
    },
  };
}

async function open(ids: readonly [string, ...string[]]) {
  const volumes = await Promise.all(ids.map(async (id) => newVolume(folder, await filesFor(id))));
  const [first, ...further] = await Promise.all(volumes.map((volume) => openX509Source(volume)));
  assert.ok(first);
  const endpoint = createEndpoint();
  const source = createWorkloadSource({
    credentials: [
      { source: first, hint: '' },
      ...further.map((each, index) => ({ source: each, hint: `${index}` })),
    ],
    bundles: [],
    tokensOf: endpoint.tokensOf,
    onProblem: ({ message }) => assert.fail(message),
  });
  /** The names that FetchJWTSVID gives, which are those in the tokens, or its refusal. */
  const fetch = async (wanted = '') => {
    const answer = await fetchJwtSvid({ audience: ['api'], spiffe_id: wanted }, source);
    if (!answer.ok) return answer.refusal;
    const { svids } = answer.value as { svids: { spiffe_id: string; svid: string }[] };
    return svids.map(({ spiffe_id, svid }) => {
      const { sub } = JSON.parse(Buffer.from(svid.split('.')[1] ?? '', 'base64url').toString());
      assert.equal(sub, spiffe_id);
      return spiffe_id;
    });
  };
  return {
    endpoint,
    fetch,
    async renew(id: string) {
      const renewed = once(first.events, 'update', { signal: AbortSignal.timeout(5_000) });
      swap(volumes[0] ?? '', await filesFor(id));
      await renewed;
    },
    async [Symbol.asyncDispose]() {
      for (const each of [first, ...further]) await each[Symbol.asyncDispose]();
    },
  };
}

describe('FetchJWTSVID of a workload whose registration has changed', () => {
  it('FetchJWTSVID gives the new name as soon as tokens have it, and not a token with it for the old name', async () => {
    await using workload = await open([oldId]);
    workload.endpoint.name(oldId, newId);
    assert.deepEqual(await workload.fetch(), [newId]);
    assert.deepEqual(await workload.fetch(newId), [newId]);
    assert.partialDeepStrictEqual(await workload.fetch(oldId), {
      code: status.PERMISSION_DENIED,
      details:
        'the token endpoint has another name for this workload than its certificate, so its registration has changed; leave spiffe_id empty, or request the new SPIFFE ID',
    });
  });

  it('FetchJWTSVID gives the new name at once when the certificate has it, although an old token is known', async () => {
    await using workload = await open([oldId]);
    assert.deepEqual(await workload.fetch(oldId), [oldId]);
    await workload.renew(newId);
    assert.deepEqual(await workload.fetch(newId), [newId]);
    assert.deepEqual(workload.endpoint.given, [oldId, newId]);
  });

  it('FetchJWTSVID keeps the tokens that it knows when the certificate is renewed with the same name', async () => {
    await using workload = await open([oldId]);
    assert.deepEqual(await workload.fetch(oldId), [oldId]);
    await workload.renew(oldId);
    assert.deepEqual(await workload.fetch(oldId), [oldId]);
    assert.deepEqual(workload.endpoint.given, [oldId]);
  });
});

describe('FetchJWTSVID of a workload with two identities', () => {
  it('FetchJWTSVID requests a token for the wanted identity alone where a certificate has its name', async () => {
    await using workload = await open([oldId, podId]);
    assert.deepEqual(await workload.fetch(podId), [podId]);
    assert.deepEqual(workload.endpoint.given, [podId]);
  });

  it('FetchJWTSVID finds the new name of each identity', async () => {
    await using workload = await open([oldId, podId]);
    workload.endpoint.name(podId, newId);
    assert.deepEqual(await workload.fetch(newId), [newId]);
    assert.deepEqual(await workload.fetch(), [oldId, newId]);
  });

  it('FetchJWTSVID refuses a name that neither certificates nor tokens have', async () => {
    await using workload = await open([oldId, podId]);
    assert.partialDeepStrictEqual(await workload.fetch('spiffe://example.org/other'), {
      code: status.PERMISSION_DENIED,
      details:
        'this workload has no identity with the requested spiffe_id; leave spiffe_id empty to get the JWT-SVIDs that it has',
    });
  });
});
