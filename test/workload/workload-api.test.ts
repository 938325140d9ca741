import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import type { KubespiffeError } from '../../spiffe/errors.ts';
import { listen } from '../../workload/api/listen.ts';
import { createWorkloadApi } from '../../workload/api/server.ts';
import type { ApiX509Svid, WorkloadState } from '../../workload/api/state.ts';
import { exactly } from '../../workload/authorize.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { createTlsClient } from '../../workload/tls-client.ts';
import { createMtlsServer } from '../../workload/tls-server.ts';
import { connectBundleSource, connectJwtSource, connectX509Source } from '../../workload/workload-api.ts';
import type { X509Source } from '../../workload/x509-source.ts';
import {
  createWorkload,
  issueSvid,
  jwtSvid,
  makeTrustDomain,
  stateOf,
  type TestTrustDomain,
} from './api/workload.ts';

const run = promisify(execFile);
const proto = loadSync(join(import.meta.dirname, '../../workload/api/workload-api.proto'), {
  keepCase: true,
});
const tokensType = proto.JWTSVIDResponse as MessageTypeDefinition<object, object>;
const responseType = proto.X509SVIDResponse as MessageTypeDefinition<object, object>;
const webId = 'spiffe://example.org/ns/shop/sa/web';

let folder: string;
let home: TestTrustDomain;
let partner: TestTrustDomain;
let first: ApiX509Svid;
let second: ApiX509Svid;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-api-'));
  home = await makeTrustDomain('example.org');
  partner = await makeTrustDomain('example.com');
  first = await issueSvid(home, '/ns/shop/sa/web');
  second = await issueSvid(home, '/ns/shop/sa/web');
});
after(() => rm(folder, { recursive: true, force: true }));

let count = 0;
function newSocket(): string {
  count += 1;
  return `unix://${join(folder, `${count}.sock`)}`;
}

/** Serves a workload until the test ends, or until it is stopped. */
async function serve(t: TestContext, workload: ReturnType<typeof createWorkload>, socket = newSocket()) {
  const address = parseEndpointAddress(socket);
  assert.ok(address.ok);
  const stopping = new AbortController();
  t.after(() => stopping.abort());
  await listen(createWorkloadApi({ source: workload.source }), address.value, stopping.signal);
  return { socket, stop: () => stopping.abort() };
}

const withRoots = () => stateOf([first], [home, partner]);
const soon = () => ({ signal: AbortSignal.timeout(5_000) });
const derOf = ({ svid }: X509Source) =>
  Buffer.from(svid.chainPem.replaceAll(/-----.*-----|\n/g, ''), 'base64');

describe('an X509Source from a Workload API', () => {
  it('an X509Source on a Workload API gives key, chain, ID and the bundles of all trust domains', async (t) => {
    const { socket } = await serve(t, createWorkload(home, withRoots()));
    await using source = await connectX509Source(socket);
    assert.equal(source.svid.id.uri, webId);
    assert.deepEqual(derOf(source), Buffer.concat(first.chain));
    assert.deepEqual(source.svid.privateKey.export({ type: 'pkcs8', format: 'der' }), first.key);
    assert.deepEqual([...source.bundles.keys()].toSorted(), ['example.com', 'example.org']);
    assert.deepEqual(source.bundles.get('example.com')?.roots[0]?.der, Buffer.from(partner.ca.facts.der));
  });

  it('an X509Source on a Workload API takes a new certificate within a second, and keeps the same bundles', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket, { pollMs: 60_000 });
    const { bundles } = source;
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(1_000) });
    workload.become(stateOf([second], [home, partner]));
    await updated;
    assert.deepEqual(derOf(source), Buffer.concat(second.chain));
    assert.equal(source.bundles, bundles);
  });

  it('an X509Source on a Workload API drops the bundle of a trust domain that is not federated any more', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket);
    const updated = once(source.events, 'update', soon());
    workload.become(stateOf([first], [home]));
    await updated;
    assert.deepEqual([...source.bundles.keys()], ['example.org']);
  });

  it('an X509Source on a Workload API uses the identity with the wanted hint, and the first one by default', async (t) => {
    const svids = [await issueSvid(home, '/internal', 'internal'), await issueSvid(home, '/external', 'ext')];
    const { socket } = await serve(t, createWorkload(home, stateOf(svids, [home])));
    const idWith = async (options: { readonly hint?: string }) => {
      await using source = await connectX509Source(socket, options);
      return source.svid.id.path;
    };
    assert.equal(await idWith({}), '/internal');
    assert.equal(await idWith({ hint: 'ext' }), '/external');
  });

  it('an X509Source survives a restart of the Workload API without a problem, and takes new certificates', async (t) => {
    const { socket, stop } = await serve(t, createWorkload(home, withRoots()));
    await using source = await connectX509Source(socket);
    const problems: KubespiffeError[] = [];
    source.events.on('problem', (problem) => problems.push(problem));
    stop();
    const updated = once(source.events, 'update', soon());
    await serve(t, createWorkload(home, stateOf([second], [home])), socket);
    await updated;
    assert.deepEqual(derOf(source), Buffer.concat(second.chain));
    assert.deepEqual(problems, []);
  });

  it('an X509Source keeps the last good certificate while there is no Workload API, and reports it once', async (t) => {
    const { socket, stop } = await serve(t, createWorkload(home, withRoots()));
    await using source = await connectX509Source(socket);
    const reported = once(source.events, 'problem', soon());
    stop();
    const [problem] = await reported;
    assert.equal((problem as KubespiffeError).code, 'WORKLOAD_API_UNAVAILABLE');
    assert.match(
      (problem as KubespiffeError).message,
      /FetchX509SVID at unix:\S+: connect ENOENT .*unavailable/,
    );
    assert.deepEqual(derOf(source), Buffer.concat(first.chain));
  });

  it('an X509Source keeps the last good certificate when the workload loses its identity, and reports it', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket);
    const reported = once(source.events, 'problem', soon());
    workload.become(stateOf([], []));
    const [problem] = await reported;
    assert.match((problem as KubespiffeError).message, /this workload has no identity.*permissionDenied/);
    const updated = once(source.events, 'update', soon());
    workload.become(stateOf([second], [home]));
    await updated;
    assert.deepEqual(derOf(source), Buffer.concat(second.chain));
  });

  it('an X509Source waits for a Workload API that starts later, and for an identity', async (t) => {
    const socket = newSocket();
    const opening = connectX509Source(socket);
    const workload = createWorkload(home, stateOf([], []));
    await serve(t, workload, socket);
    workload.become(withRoots());
    await using source = await opening;
    assert.equal(source.svid.id.uri, webId);
  });

  it('an X509Source on a Workload API ends by its signal, before and after it is open', async (t) => {
    const ended = new AbortController();
    const opening = connectX509Source(newSocket(), { signal: ended.signal });
    ended.abort();
    await assert.rejects(opening, { name: 'AbortError' });

    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    const stopping = new AbortController();
    const source = await connectX509Source(socket, { signal: stopping.signal });
    source.events.on('problem', assert.fail);
    stopping.abort();
    workload.become(stateOf([second], [home]));
    await source[Symbol.asyncDispose]();
    assert.deepEqual(derOf(source), Buffer.concat(first.chain));
  });

  it('an X509Source reports a certificate that is not renewed in time, although no response comes', async (t) => {
    const { socket } = await serve(t, createWorkload(home, withRoots()));
    let ahead = 0;
    await using source = await connectX509Source(socket, { pollMs: 5, now: () => Date.now() + ahead });
    const reported = once(source.events, 'problem', soon());
    ahead = (source.svid.notAfter - 1) * 1_000 - Date.now();
    const [problem] = await reported;
    assert.match((problem as KubespiffeError).message, /X509-SVID at unix:\S+: .*not renewed in time/);
  });

  it('an X509Source on a Workload API does not keep the process alive, and does not print the key', async (t) => {
    const { socket } = await serve(t, createWorkload(home, withRoots()));
    const module = join(import.meta.dirname, '../../workload/workload-api.ts');
    const code = `const { connectX509Source, connectBundleSource } = await import('${module}');
      const source = await connectX509Source('${socket}');
      const { bundles } = await connectBundleSource('${socket}');
      console.log(source.svid, JSON.stringify(source), bundles.size);`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { timeout: 20_000 });
    assert.match(stdout, /ns\/shop\/sa\/web/);
    assert.doesNotMatch(stdout, /PRIVATE KEY/);
  });

  it('mTLS over an X509Source uses a new certificate for new connections, while open ones continue', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket);
    const server = createMtlsServer((options) => tls.createServer(options, (each) => each.pipe(each)), {
      ...{ source, authorize: exactly(webId) },
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = createTlsClient({ source, authorize: exactly(webId) });
    const open = async () => {
      const { port } = server.address() as AddressInfo;
      const connection = client.connect({ host: '127.0.0.1', port });
      t.after(() => connection.destroy());
      await once(connection, 'secureConnect', soon());
      return connection;
    };
    t.after(() => server.close());
    const old = await open();
    const updated = once(source.events, 'update', soon());
    workload.become(stateOf([second], [home]));
    await updated;
    const fresh = await open();
    assert.notEqual(old.getPeerCertificate().fingerprint256, fresh.getPeerCertificate().fingerprint256);
    for (const each of [old, fresh]) {
      each.write('x');
      assert.equal(String((await once(each, 'data', soon()))[0]), 'x');
    }
  });
});

describe('a BundleSource from a Workload API', () => {
  it('a BundleSource on a Workload API gives roots and JWT keys of all trust domains, and takes new ones', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectBundleSource(socket);
    assert.deepEqual([...source.bundles.keys()].toSorted(), ['example.com', 'example.org']);
    for (const domain of [home, partner]) {
      const bundle = source.bundles.get(domain.name);
      assert.deepEqual(bundle?.roots[0]?.der, Buffer.from(domain.ca.facts.der));
      assert.deepEqual([...(bundle?.jwtKeys.keys() ?? [])], [domain.tokens.kid]);
    }
    const updated = once(source.events, 'update', soon());
    workload.become(stateOf([first], [partner]));
    await updated;
  });

  for (const [what, state, roots, keys] of [
    ['no JWT keys', () => ({ ...withRoots(), jwtBundles: new Map() }), 1, 0],
    ['nothing but JWT keys', () => ({ ...withRoots(), x509Bundles: new Map() }), 0, 1],
  ] as readonly [string, () => WorkloadState, number, number][]) {
    it(`a BundleSource on a Workload API has no problem if the workload gets ${what}`, async (t) => {
      const { socket } = await serve(t, createWorkload(home, state()));
      await using source = await connectBundleSource(socket, { pollMs: 5 });
      source.events.on('problem', assert.fail);
      const bundle = source.bundles.get('example.org');
      assert.deepEqual([bundle?.roots.length, bundle?.jwtKeys.size], [roots, keys]);
    });
  }
});

describe('a JwtSource from a Workload API', () => {
  it('a JwtSource on a Workload API gives a token that the bundles there verify, and keeps it', async (t) => {
    const { socket } = await serve(t, createWorkload(home, withRoots()));
    const tokens = connectJwtSource(socket);
    const svid = await tokens.get('vault');
    await using bundles = await connectBundleSource(socket);
    assert.equal(validateJwtSvid(svid.token, 'vault', bundles).id.uri, webId);
    assert.equal(await tokens.get('vault'), svid);
    assert.notEqual(await tokens.get(['vault', 'api']), svid);
  });

  it('a JwtSource on a Workload API gives the token of the identity with the wanted hint', async (t) => {
    const svids = [await issueSvid(home, '/internal', 'internal'), await issueSvid(home, '/external', 'ext')];
    const { socket } = await serve(t, createWorkload(home, stateOf(svids, [home])));
    assert.equal((await connectJwtSource(socket).get('vault')).id.path, '/internal');
    assert.equal((await connectJwtSource(socket, { hint: 'ext' }).get('vault')).id.path, '/external');
    await assert.rejects(connectJwtSource(socket, { hint: 'none' }).get('vault'), {
      code: 'WORKLOAD_API_UNAVAILABLE',
      message: /no identity has the hint "none", only "internal", "ext"/,
    });
  });

  it('a JwtSource gives the known token while there is no Workload API, reports that, and then gives none', async (t) => {
    const { socket, stop } = await serve(t, createWorkload(home, withRoots()));
    let ahead = 0;
    const tokens = connectJwtSource(socket, { now: () => Date.now() + ahead });
    const known = await tokens.get('vault');
    stop();
    const problems: KubespiffeError[] = [];
    tokens.events.on('problem', (problem) => problems.push(problem));
    ahead = 200_000;
    assert.equal(await tokens.get('vault'), known);
    assert.match(problems[0]?.message ?? '', /FetchJWTSVID at unix:\S+: connect ENOENT/);
    ahead = 400_000;
    await assert.rejects(tokens.get('vault'), { code: 'WORKLOAD_API_UNAVAILABLE' });
  });

  it('a JwtSource does not wait forever for a Workload API that never answers', async (t) => {
    const socket = await answering(t, () => undefined);
    await assert.rejects(connectJwtSource(socket, { timeoutMs: 200 }).get('vault'), {
      code: 'WORKLOAD_API_UNAVAILABLE',
      message: /FetchJWTSVID at unix:\S+: The operation was aborted due to timeout \(cancelled\)/,
    });
  });

  it('a JwtSource refuses a token of the Workload API that is for another audience, or is not a token', async (t) => {
    const token = jwtSvid(home, { sub: webId, aud: ['other'] });
    for (const [svids, says] of [
      [[{ spiffe_id: webId, svid: token }], /unusable token: the audience "vault" is not/],
      [[{ spiffe_id: webId, svid: 'garbage' }], /unusable token/],
      [[], /it has no identity/],
    ] as const) {
      const socket = await answering(t, (stream) => {
        stream.respond(grpcHeaders, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(framed(Buffer.from(tokensType.serialize({ svids }))));
      });
      await assert.rejects(connectJwtSource(socket).get('vault'), { message: says });
    }
  });

  it('a JwtSource reports the reason of a refusal by the Workload API', async (t) => {
    const { socket } = await serve(t, createWorkload(home, withRoots()));
    await assert.rejects(connectJwtSource(socket).get([]), {
      code: 'WORKLOAD_API_UNAVAILABLE',
      message: /FetchJWTSVID at unix:\S+: audience is empty; name one at least \(invalidArgument\)/,
    });
  });
});

describe('an address of a Workload API that is refused', () => {
  for (const [what, socket, says] of [
    ['none', undefined, /set SPIFFE_ENDPOINT_SOCKET/],
    ['an empty one', '', /set SPIFFE_ENDPOINT_SOCKET/],
    ['a relative path', 'unix:agent.sock', /"unix:agent\.sock" .* path of a unix address is absolute/],
    ['a path without scheme', '/run/agent.sock', /an address is unix:/],
    ['a path that is too long', `unix:///${'a'.repeat(120)}`, /has 121 bytes; a socket has at most 107/],
    ['an address on the network', 'tcp://10.0.0.1:8080', /not an address of loopback/],
  ] as const) {
    it(`a source refuses an address of the Workload API: ${what}`, async () => {
      const refused = { code: 'WORKLOAD_API_UNAVAILABLE', message: says };
      await assert.rejects(connectX509Source(socket), refused);
      await assert.rejects(connectBundleSource(socket), refused);
      assert.throws(() => connectJwtSource(socket), refused);
    });
  }
});

/** Starts a server at a socket until the test ends. */
async function listening(
  t: TestContext,
  server: Server | ReturnType<typeof createHttp2Server>,
): Promise<string> {
  const socket = newSocket();
  const connections = new Set<{ destroy(): void }>();
  server.on('connection', (connection: { destroy(): void }) => connections.add(connection));
  server.listen(socket.slice('unix://'.length));
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const connection of connections) connection.destroy();
  });
  return socket;
}

/** A gRPC server that answers every call in the same way. */
function answering(t: TestContext, act: (stream: ServerHttp2Stream) => void): Promise<string> {
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    act(stream);
  });
  return listening(t, server);
}

const grpcHeaders = { ':status': 200, 'content-type': 'application/grpc' };

function framed(message: Buffer, { length = message.length, compressed = 0 } = {}): Buffer {
  const prefix = Buffer.alloc(5, compressed);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** Sends bytes and leaves the stream open. */
const sending = (t: TestContext, bytes: Buffer) =>
  answering(t, (stream) => {
    stream.respond(grpcHeaders);
    stream.write(bytes);
  });

/** A response of FetchX509SVID with one SVID, of which only some fields are there. */
const responseWith = (svid: object) =>
  framed(Buffer.from(responseType.serialize({ svids: [{ spiffe_id: webId, ...svid }] })));

/** What is at the socket, and what the error says. */
const bad: readonly [what: string, start: (t: TestContext) => Promise<string>, says: RegExp][] = [
  ['there is no socket', async () => newSocket(), /connect ENOENT/],
  [
    'a server listens that does not speak HTTP',
    (t) =>
      listening(
        t,
        createServer((each) => each.end('hi\n')),
      ),
    /unavailable/,
  ],
  [
    'an HTTP/1.1 server listens',
    (t) =>
      listening(
        t,
        createHttpServer((_request, response) => response.end('hi')),
      ),
    /unavailable/,
  ],
  [
    'a web server listens',
    (t) =>
      answering(t, (stream) => {
        stream.respond({ ':status': 404 });
        stream.end('not found');
      }),
    /it is not a gRPC server \(HTTP status 404\)/,
  ],
  ['a server listens that never answers', (t) => answering(t, () => undefined), /has answered within 300 ms/],
  [
    'a server accepts no HTTP/2',
    (t) =>
      listening(
        t,
        createServer(() => undefined),
      ),
    /has answered within 300 ms/,
  ],
  [
    'the method is not known',
    (t) =>
      answering(t, (stream) => {
        stream.respond(
          { ...grpcHeaders, 'grpc-status': '12', 'grpc-message': 'caf%C3%A9 %' },
          { endStream: true },
        );
      }),
    /caf%C3%A9 % \(unimplemented\)/,
  ],
  [
    'the status is not a number',
    (t) =>
      answering(t, (stream) => stream.respond({ ...grpcHeaders, 'grpc-status': 'bad' }, { endStream: true })),
    /\(unknown\)/,
  ],
  [
    'the stream ends without a status',
    (t) =>
      answering(t, (stream) => {
        stream.respond(grpcHeaders);
        stream.end();
      }),
    /the connection was closed \(unavailable\)/,
  ],
  [
    'the response is not protobuf',
    (t) => sending(t, framed(Buffer.from('garbage'))),
    /cannot be used: .*protobuf/,
  ],
  [
    'the response is compressed',
    (t) => sending(t, framed(Buffer.from('x'), { compressed: 1 })),
    /is compressed/,
  ],
  [
    'the response says that it is 4 GB long',
    (t) => sending(t, framed(Buffer.alloc(0), { length: 0xffff_ffff })),
    /has more than 4194304 bytes/,
  ],
  [
    'the response is cut off',
    (t) => sending(t, framed(Buffer.from('ab'), { length: 10 })),
    /answered within 300 ms/,
  ],
  ['the response has no identity', (t) => sending(t, framed(Buffer.alloc(0))), /it has no identity/],
  [
    'the chain is not DER',
    (t) => sending(t, responseWith({ x509_svid: Buffer.from('garbage') })),
    /its chain cannot be read/,
  ],
  [
    'there is a key without a certificate',
    (t) => sending(t, responseWith({ x509_svid_key: first.key })),
    /it has no certificate/,
  ],
  [
    'the key is that of another certificate',
    (t) =>
      serve(t, createWorkload(home, stateOf([{ ...first, key: second.key }], [home]))).then(
        ({ socket }) => socket,
      ),
    /its private key is not that of its certificate/,
  ],
];

describe('opening an X509Source on a Workload API', () => {
  for (const [what, start, says] of bad) {
    it(`an X509Source on a Workload API does not open if ${what}`, async (t) => {
      const socket = await start(t);
      await assert.rejects(connectX509Source(socket, { timeoutMs: 300 }), (error: KubespiffeError) => {
        assert.match(error.code, /^(WORKLOAD_API_UNAVAILABLE|SVID_INVALID)$/);
        assert.match(error.message, says);
        return true;
      });
    });
  }

  it('an X509Source does not open if its call is refused as invalid, and does not try again', async (t) => {
    let calls = 0;
    const socket = await answering(t, (stream) => {
      calls += 1;
      const refused = { 'grpc-status': '3', 'grpc-message': 'security%20header missing' };
      stream.respond({ ...grpcHeaders, ...refused }, { endStream: true });
    });
    await assert.rejects(connectX509Source(socket), {
      message: /security header missing \(invalidArgument\)/,
    });
    assert.equal(calls, 1);
  });
});

describe('a response that cannot be used', () => {
  it('a response that cannot be used leaves the last good certificate in use, until the next good one', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket);
    for (const [bad, says] of [
      [{ ...second, key: first.key }, /not that of its certificate/],
      [{ ...second, chain: [Buffer.from('garbage')] }, /its chain cannot be read/],
      [
        await issueSvid(await makeTrustDomain('example.org'), '/ns/shop/sa/web'),
        /none of the roots of example\.org/,
      ],
    ] as const) {
      const reported = once(source.events, 'problem', soon());
      workload.become(stateOf([{ ...bad, bundle: first.bundle }], [home, partner]));
      assert.match(((await reported)[0] as KubespiffeError).message, says);
      assert.deepEqual(derOf(source), Buffer.concat(first.chain));
    }
    const updated = once(source.events, 'update', soon());
    workload.become(stateOf([second], [home, partner]));
    await updated;
    assert.deepEqual(derOf(source), Buffer.concat(second.chain));
  });

  it('an invalid federated bundle in a response does not delay a new certificate', async (t) => {
    const workload = createWorkload(home, withRoots());
    const { socket } = await serve(t, workload);
    await using source = await connectX509Source(socket);
    const updated = once(source.events, 'update', soon());
    const reported = once(source.events, 'problem', soon());
    const state = stateOf([second], [home]);
    workload.become({ ...state, x509Bundles: new Map([['example.com', [Buffer.from('garbage')]]]) });
    await updated;
    const [problem] = await reported;
    assert.match((problem as KubespiffeError).message, /the trust bundle of example\.com at unix:/);
    assert.deepEqual(derOf(source), Buffer.concat(second.chain));
    assert.deepEqual(source.bundles.get('example.com')?.roots[0]?.der, Buffer.from(partner.ca.facts.der));
  });

  it('a response cannot give the roots of a federated trust domain to ours, nor ours to another', async (t) => {
    const state = stateOf([first], [home]);
    const x509Bundles = new Map([['example.com', [home.ca.facts.der]]]);
    const { socket } = await serve(t, createWorkload(home, { ...state, x509Bundles }));
    await using source = await connectX509Source(socket);
    assert.deepEqual([...source.bundles.keys()], ['example.org']);

    const { chain, key, bundle } = first;
    const message = responseType.serialize({
      svids: [{ spiffe_id: webId, x509_svid: chain[0], x509_svid_key: key, bundle: bundle[0] }],
      federated_bundles: { 'spiffe://example.org': partner.ca.facts.der },
    });
    await using other = await connectX509Source(await sending(t, framed(Buffer.from(message))));
    assert.deepEqual(other.bundles.get('example.org')?.roots[0]?.der, Buffer.from(home.ca.facts.der));
  });

  it('a response of JWT bundles is read without keys for other uses, and with those for a SPIFFE bundle', async (t) => {
    const { keys } = JSON.parse(stateOf([first], [home]).jwtBundles.get('example.org')?.jwks ?? '{}');
    const marked = [
      { ...keys[0], use: 'jwt-svid' },
      { ...keys[0], kid: 'other', use: 'wit-svid' },
    ];
    const jwtBundles = new Map([
      ['example.org', { jwks: JSON.stringify({ keys: marked }), keys: new Map() }],
    ]);
    const { socket } = await serve(t, createWorkload(home, { ...withRoots(), jwtBundles }));
    await using source = await connectBundleSource(socket);
    assert.deepEqual([...(source.bundles.get('example.org')?.jwtKeys.keys() ?? [])], [home.tokens.kid]);
  });
});
