import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { listen } from '../../workload/api/listen.ts';
import { createWorkloadApi } from '../../workload/api/server.ts';
import { exactly } from '../../workload/authorize.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { createTlsClient, type TlsClient } from '../../workload/tls-client.ts';
import { peerIdOf } from '../../workload/tls-peer.ts';
import { createMtlsServer } from '../../workload/tls-server.ts';
import { connectBundleSource, connectJwtSource, connectX509Source } from '../../workload/workload-api.ts';
import { openX509Source, type X509Source } from '../../workload/x509-source.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges, type WorkloadApiAnswers } from '../judges/judges.ts';
import { openPySpiffe, type PySpiffe } from '../judges/py-spiffe.ts';
import { ecKey, type TokenKey, tokenOf } from '../spiffe/tokens.ts';
import { createWorkload, issueSvid, makeTrustDomain, stateOf } from '../workload/api/workload.ts';
import { type Credentials, credentialsFor, newVolume } from '../workload/credentials.ts';
import { makeWorld, peerCases, type World } from '../workload/peers.ts';

const run = promisify(execFile);
const dbId = 'spiffe://example.org/ns/shop/sa/db';

let judges: Judges;
let folder: string;
let world: World;
let own: Credentials;
let source: X509Source;
let bundles: Record<string, string>;
before(async () => {
  judges = await openJudges();
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-workload-judges-'));
  world = await makeWorld();
  own = await credentialsFor(dbId, world.ca);
  bundles = { 'example.org': world.ca.pem, 'example.com': world.partner.pem };
  writeFileSync(join(folder, 'roots.pem'), world.ca.pem + world.partner.pem);
  source = await openX509Source(
    newVolume(folder, { 'credentials.pem': own.pem, 'roots.pem': world.ca.pem + world.partner.pem }),
  );
});
after(async () => {
  await source?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** What OpenSSL says of a chain, by the roots of all trust domains: it does not know SPIFFE IDs. */
async function isAcceptedByOpenssl({ chainPem }: Credentials, purpose: string): Promise<boolean> {
  const path = join(folder, 'chain.pem');
  writeFileSync(path, chainPem);
  const words = [
    'verify',
    '-purpose',
    purpose,
    '-CAfile',
    join(folder, 'roots.pem'),
    '-untrusted',
    path,
    path,
  ];
  return run('openssl', words).then(
    () => true,
    () => false,
  );
}

describe('peers of the library, beside go-spiffe and OpenSSL', () => {
  for (const { name, make, expected, acceptedBy = '' } of peerCases) {
    const isAccepted = 'id' in expected;
    it(`go-spiffe and OpenSSL agree with the library in what they check: ${name}`, async () => {
      const peer = await make(world);
      const go = await judges.x509Svid({ chain: peer.chainPem, bundles });
      assert.equal(go.ok, isAccepted || acceptedBy.includes('go-spiffe'), go.errors.join());
      if (isAccepted) assert.equal(go.facts.id, expected.id);
      const openssl = await isAcceptedByOpenssl(peer, 'sslserver');
      assert.equal(openssl, isAccepted || acceptedBy.includes('OpenSSL'));
    });

    it(`openssl s_client reaches a server of the library only if it is accepted: ${name}`, async (t) => {
      const seen: (string | undefined)[] = [];
      const server = createMtlsServer(
        (options) =>
          tls.createServer(options, (socket) => {
            seen.push(peerIdOf(socket)?.uri);
            socket.on('error', () => undefined).end('hello');
          }),
        { source, authorize: () => true },
      );
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const peer = await make(world);
      const path = join(folder, 'client.pem');
      writeFileSync(path, peer.pem);
      const { port } = server.address() as AddressInfo;
      const words = [
        's_client',
        '-quiet',
        '-connect',
        `127.0.0.1:${port}`,
        '-cert',
        path,
        '-cert_chain',
        path,
      ];
      const client = spawn('openssl', words, { stdio: ['pipe', 'pipe', 'ignore'] });
      assert.equal(await text(client.stdout), isAccepted ? 'hello' : '');
      assert.deepEqual(seen, isAccepted ? [expected.id] : []);
    });

    it(`a client of the library uses openssl s_server only if it is accepted: ${name}`, async (t) => {
      const peer = await make(world);
      const blocks = decodePem(peer.pem);
      assert.ok(blocks.ok);
      const path = join(folder, 'server.pem');
      writeFileSync(path, peer.pem);
      const [port = 0] = await freePorts(1);
      const words = ['s_server', '-quiet', '-accept', `127.0.0.1:${port}`, '-cert', path, '-key', path];
      const server = spawn('openssl', [...words, '-cert_chain', path], {
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      t.after(() => server.kill());
      const client = createTlsClient({ source, authorize: () => true });
      const outcome = await outcomeOf(client, port);
      if (isAccepted) assert.equal(outcome, expected.id);
      else assert.match(String(outcome), expected.says);
    });
  }
});

describe('the library and go-spiffe over mTLS', () => {
  const side = { credentials: '', bundles: {}, expects: dbId };

  it('a server of the library and a client of go-spiffe see the ID of each other', async (t) => {
    const web = await credentialsFor('spiffe://example.org/ns/shop/sa/web', world.ca);
    const seen: (string | undefined)[] = [];
    const server = createMtlsServer(
      (options) =>
        tls.createServer(options, (socket) => {
          seen.push(peerIdOf(socket)?.uri);
          socket.on('error', () => undefined).pipe(socket);
        }),
      { source, authorize: exactly('spiffe://example.org/ns/shop/sa/web') },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const ask = (credentials: string, expects: string) =>
      judges.mtlsPeer({ own: { credentials, bundles, expects }, address, listens: false });
    const verdict = await ask(web.pem, dbId);
    assert.deepEqual(
      [verdict.ok, verdict.facts.saw, seen],
      [true, dbId, ['spiffe://example.org/ns/shop/sa/web']],
    );
    assert.equal((await ask(web.pem, 'spiffe://example.org/other')).ok, false);
    const other = await credentialsFor('spiffe://example.org/ns/shop/sa/batch', world.ca);
    assert.equal((await ask(other.pem, dbId)).ok, false);
    assert.ok(!seen.includes('spiffe://example.org/ns/shop/sa/batch'));
  });

  it('a client of the library and a server of go-spiffe see the ID of each other', async () => {
    const web = await credentialsFor('spiffe://example.org/ns/shop/sa/web', world.ca);
    const [port = 0] = await freePorts(1);
    const verdict = judges.mtlsPeer({
      own: { ...side, credentials: web.pem, bundles },
      address: `127.0.0.1:${port}`,
      listens: true,
    });
    const client = createTlsClient({ source, authorize: exactly('spiffe://example.org/ns/shop/sa/web') });
    assert.equal(await outcomeOf(client, port, 'x'), 'spiffe://example.org/ns/shop/sa/web');
    const { ok, facts } = await verdict;
    assert.deepEqual([ok, facts.saw], [true, dbId]);
  });
});

describe('sources of the library from a Workload API of grpc-go', () => {
  const base64 = (pem: string, isKey = false) => {
    const blocks = decodePem(pem);
    assert.ok(blocks.ok);
    const wanted = blocks.value.filter(({ label }) => (label === 'PRIVATE KEY') === isKey);
    return Buffer.concat(wanted.map(({ der }) => der)).toString('base64');
  };
  const answersOf = ({ pem }: Credentials, tokenKey: TokenKey): Required<WorkloadApiAnswers> => {
    const bundle = base64(world.ca.pem);
    const federated = { 'spiffe://example.com': base64(world.partner.pem) };
    const svid = { spiffeId: dbId, x509Svid: base64(pem), x509SvidKey: base64(pem, true), bundle };
    const { kid, publicKey } = tokenKey;
    const jwks = JSON.stringify({ keys: [{ ...publicJwkOf(publicKey), kid }] });
    const now = Math.floor(Date.now() / 1000);
    const token = tokenOf(
      tokenKey,
      { alg: 'ES256', kid, typ: 'JWT' },
      { sub: dbId, aud: ['api'], iat: now, exp: now + 300 },
    );
    return {
      x509: { svids: [svid], federatedBundles: federated },
      x509Bundles: { bundles: { 'spiffe://example.org': bundle, ...federated } },
      jwtBundles: { bundles: { 'spiffe://example.org': Buffer.from(jwks).toString('base64') } },
      jwt: { svids: [{ spiffeId: dbId, svid: token }] },
    };
  };

  it('sources from a Workload API of grpc-go give certificate, bundles and tokens, and each new certificate', async () => {
    const path = join(folder, 'grpc-go.sock');
    await using served = await judges.serveWorkloadApi({ path });
    const tokenKey = ecKey();
    const opening = connectX509Source(`unix://${path}`);
    await served.become(answersOf(own, tokenKey));
    await using fromApi = await opening;
    assert.equal(fromApi.svid.chainPem, own.chainPem);
    assert.deepEqual([...fromApi.bundles.keys()].toSorted(), ['example.com', 'example.org']);
    await using bundleSource = await connectBundleSource(`unix://${path}`);
    const { token } = await connectJwtSource(`unix://${path}`).get('api');
    assert.equal(validateJwtSvid(token, 'api', bundleSource).id.uri, dbId);

    const fresh = await credentialsFor(dbId, world.ca);
    const updated = once(fromApi.events, 'update', { signal: AbortSignal.timeout(5_000) });
    await served.become(answersOf(fresh, tokenKey));
    await updated;
    assert.equal(fromApi.svid.chainPem, fresh.chainPem);
  });

  it('sources from a Workload API of grpc-go continue when it closes connections at a maximum age', async () => {
    const path = join(folder, 'grpc-go-aged.sock');
    await using served = await judges.serveWorkloadApi({ path, maxConnectionAge: '100ms' });
    const tokenKey = ecKey();
    await served.become(answersOf(own, tokenKey));
    await using fromApi = await connectX509Source(`unix://${path}`);
    fromApi.events.on('problem', assert.fail);
    await waitFor('the third stream', async () => (await served.become(answersOf(own, tokenKey))) >= 3);
    const fresh = await credentialsFor(dbId, world.ca);
    const updated = once(fromApi.events, 'update', { signal: AbortSignal.timeout(5_000) });
    await served.become(answersOf(fresh, tokenKey));
    await updated;
    assert.equal(fromApi.svid.chainPem, fresh.chainPem);
  });
});

describe('the Workload API and py-spiffe', () => {
  const path = '/ns/shop/sa/web';
  let pySpiffe: PySpiffe;
  let address: string;
  let workload: ReturnType<typeof createWorkload>;
  let home: Awaited<ReturnType<typeof makeTrustDomain>>;
  const stopping = new AbortController();
  before(async () => {
    pySpiffe = await openPySpiffe();
    home = await makeTrustDomain('example.org');
    const svids = [await issueSvid(home, path), await issueSvid(home, '/ns/shop/pod/web-0', 'pod')];
    workload = createWorkload(home, stateOf(svids, [home, await makeTrustDomain('partner.example')]));
    address = `unix://${join(folder, 'workload-api.sock')}`;
    const at = parseEndpointAddress(address);
    assert.ok(at.ok);
    await listen(createWorkloadApi({ source: workload.source }), at.value, stopping.signal);
  });
  after(() => stopping.abort());

  it('py-spiffe gets everything that a workload has', async () => {
    const { errors, facts } = await pySpiffe.workloadApi({ address, audience: 'vault' });
    assert.deepEqual(errors, []);
    const ids = [`spiffe://example.org${path}`, 'spiffe://example.org/ns/shop/pod/web-0'];
    assert.deepEqual(
      facts.x509?.split(', ').map((svid) => svid.split(' ')[0]),
      ids,
    );
    const domains = 'example.org partner.example';
    const { 'x509-bundles': ofContext, 'fetched-bundles': fetched, 'jwt-bundles': ofTokens } = facts;
    assert.deepEqual([ofContext, fetched, ofTokens], [domains, domains, domains]);
    assert.deepEqual([facts.jwt, facts.validated], [ids.join(', '), ids[0]]);
  });

  it('py-spiffe gets a renewal over its open stream', async () => {
    const verdict = pySpiffe.workloadApiUpdate(address);
    await waitFor('the stream of py-spiffe', () => workload.listening() === 1);
    workload.become(stateOf([await issueSvid(home, path)], [home]));
    const { errors, facts } = await verdict;
    assert.deepEqual(errors, []);
    for (const svids of [facts.first, facts.next])
      assert.ok(svids?.startsWith(`spiffe://example.org${path} `));
    assert.notEqual(facts.first, facts.next);
  });
});

/** The ID of a server that may only just have started, or the error with which it is refused. */
async function outcomeOf(client: TlsClient, port: number, message?: string): Promise<string | undefined> {
  const { outcome } = await waitFor(`the server at port ${port}`, () => connectTo(client, port, message));
  return outcome;
}

/** Undefined where nothing listens yet. */
async function connectTo(
  client: TlsClient,
  port: number,
  message: string | undefined,
): Promise<{ outcome: string | undefined } | undefined> {
  const socket = client.connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'secureConnect');
    if (message !== undefined) {
      socket.write(message);
      await once(socket, 'data');
    }
    return { outcome: peerIdOf(socket)?.uri };
  } catch (error) {
    const { code, message: outcome } = error as NodeJS.ErrnoException;
    return code === 'ECONNREFUSED' ? undefined : { outcome };
  } finally {
    socket.destroy();
  }
}
