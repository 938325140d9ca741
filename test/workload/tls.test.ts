import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get as httpGet } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it, type TestContext } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import {
  Client,
  Server as GrpcServer,
  credentials as grpcCredentials,
  ServerCredentials,
  type ServerDuplexStream,
  ServerInterceptingCall,
} from '@grpc/grpc-js';
import { fastify } from 'fastify';
import { Agent, fetch as undiciFetch, request as undiciRequest } from 'undici';
import { createWorkloadSource } from '../../workload/api/workload-source.ts';
import { exactly, memberOf, oneOf } from '../../workload/authorize.ts';
import { PeerRefusedError } from '../../workload/peer-refused.ts';
import { createTlsClient } from '../../workload/tls-client.ts';
import { peerIdOf } from '../../workload/tls-peer.ts';
import { createMtlsServer, createTlsServer } from '../../workload/tls-server.ts';
import { connectX509Source } from '../../workload/workload-api.ts';
import { openX509Source, type X509Source } from '../../workload/x509-source.ts';
import { serve } from './api/client.ts';
import { type Credentials, credentialsFor, newVolume, swap } from './credentials.ts';
import { makeWorld, peerCases, type World, webId } from './peers.ts';

const run = promisify(execFile);
const dbId = 'spiffe://example.org/ns/shop/sa/db';
const anybody = () => true;

let folder: string;
let world: World;
let web: X509Source;
let db: X509Source;
let volumes: { readonly web: string; readonly db: string };
/** The same identities as web and db, through a Workload API. */
let fromSockets: { readonly web: X509Source; readonly db: X509Source };
const opened: AsyncDisposable[] = [];

const filesOf = ({ pem }: Credentials) => ({
  'credentials.pem': pem,
  'roots.pem': world.ca.pem + world.partner.pem,
});
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-tls-'));
  world = await makeWorld();
  volumes = {
    web: newVolume(folder, filesOf(await credentialsFor(webId, world.ca))),
    db: newVolume(folder, filesOf(await credentialsFor(dbId, world.ca))),
  };
  [web, db] = await Promise.all([openX509Source(volumes.web), openX509Source(volumes.db)]);
  fromSockets = { web: await throughSocket(web), db: await throughSocket(db) };
  opened.push(web, db);
});
after(async () => {
  for (const each of opened) await each[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function throughSocket(source: X509Source): Promise<X509Source> {
  const workload = createWorkloadSource({
    credentials: [{ source, hint: '' }],
    bundles: [],
    tokensOf: undefined,
    onProblem: (problem) => assert.fail(problem.message),
  });
  const served = await serve({ source: workload });
  const connected = await connectX509Source(served.uri);
  opened.push(connected, served);
  return connected;
}

/** Gives a source a new certificate with the same ID, and waits until it is in use. */
async function rotate(source: X509Source, volume: string): Promise<void> {
  const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
  swap(volume, filesOf(await credentialsFor(source.svid.id.uri, world.ca)));
  await updated;
}

/** Listens until the test ends, and closes whatever is still connected. */
async function listen(t: TestContext, server: tls.Server): Promise<number> {
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

const serialOf = (socket: tls.TLSSocket) => socket.getPeerX509Certificate()?.serialNumber;

describe('an mTLS server', () => {
  for (const { name, make, expected } of peerCases) {
    it(`an mTLS server ${'id' in expected ? 'accepts' : 'refuses'} ${name}`, async (t) => {
      const seen: (string | undefined)[] = [];
      const server = createMtlsServer(
        (options) =>
          tls.createServer(options, (socket) => {
            seen.push(peerIdOf(socket)?.uri);
            socket.end('hello');
          }),
        { source: db, authorize: anybody },
      );
      const refused: PeerRefusedError[] = [];
      server.on('tlsClientError', (error) => {
        if (error instanceof PeerRefusedError) refused.push(error);
      });
      const port = await listen(t, server);
      const { keyPem, chainPem } = await make(world);
      const socket = tls.connect({
        ...{ host: '127.0.0.1', port, key: keyPem, cert: chainPem, ca: world.ca.pem },
        checkServerIdentity: () => undefined,
      });
      socket.write('what a refused client sends is read by nobody');
      const answer = await text(socket).catch(() => '');
      if ('id' in expected) return assert.deepEqual([answer, seen], ['hello', [expected.id]]);
      assert.deepEqual([answer, seen], ['', []]);
      assert.deepEqual(
        refused.map(({ rule, ownId }) => [rule, ownId]),
        [[expected.rule, dbId]],
      );
      assert.match(refused[0]?.message ?? '', expected.says);
    });
  }

  it('an mTLS server refuses a client without a certificate, and one that the authorizer does not allow', async (t) => {
    const server = createMtlsServer((options) => tls.createServer(options), {
      source: db,
      authorize: exactly(dbId),
    });
    const port = await listen(t, server);
    for (const [client, rule] of [
      [{}, 'certificate'],
      [contextOf(web), 'authorizer'],
    ] as const) {
      const refusal = once(server, 'tlsClientError', { signal: AbortSignal.timeout(5_000) });
      const options = { ...client, ca: world.ca.pem, checkServerIdentity: () => undefined };
      const socket = tls.connect({ host: '127.0.0.1', port, ...options });
      socket.on('error', () => undefined);
      const [error] = await refusal;
      assert.ok(error instanceof PeerRefusedError);
      assert.equal(error.rule, rule);
    }
  });

  it('an mTLS server accepts no client if its options were changed so that clients show no certificate', async (t) => {
    const server = createMtlsServer(
      (options) => tls.createServer({ ...options, requestCert: false }, () => assert.fail('accepted')),
      { source: db, authorize: anybody },
    );
    const port = await listen(t, server);
    const refusal = once(server, 'tlsClientError', { signal: AbortSignal.timeout(5_000) });
    const client = createTlsClient({ source: web, authorize: exactly(dbId) });
    client.connect({ host: '127.0.0.1', port }).on('error', () => undefined);
    const [error] = await refusal;
    assert.equal((error as PeerRefusedError).rule, 'certificate');
  });

  for (const version of ['-tls1_2', '-tls1_3']) {
    it(`an mTLS server resumes no session of OpenSSL: ${version}`, async (t) => {
      const server = createMtlsServer(
        (options) => tls.createServer(options, (socket) => socket.end('hello')),
        {
          source: db,
          authorize: anybody,
        },
      );
      const port = await listen(t, server);
      const [credentials, session] = [join(folder, 'client.pem'), join(folder, `session${version}`)];
      await writeFile(credentials, (await credentialsFor(webId, world.ca)).pem);
      const words = ['s_client', version, '-connect', `127.0.0.1:${port}`, '-cert', credentials];
      for (const option of ['-sess_out', '-sess_in']) {
        // It ends with an error, as the server closes the connection.
        const output: string = await run('openssl', [...words, option, session]).then(
          ({ stdout }) => stdout,
          ({ stdout }) => stdout,
        );
        assert.match(output, /^New, TLS/m);
        assert.match(output, /hello/);
      }
    });
  }

  it('an mTLS server shows a new certificate to new connections, and keeps the open ones', async (t) => {
    const server = createMtlsServer((options) => tls.createServer(options, (socket) => socket.pipe(socket)), {
      source: db,
      authorize: exactly(webId),
    });
    const port = await listen(t, server);
    const client = createTlsClient({ source: web, authorize: exactly(dbId) });
    const connect = async () => {
      const socket = client.connect({ host: '127.0.0.1', port });
      await once(socket, 'secureConnect');
      return socket;
    };
    const old = await connect();
    await rotate(db, volumes.db);
    await rotate(web, volumes.web);
    const fresh = await connect();
    assert.notEqual(serialOf(old), serialOf(fresh));
    for (const socket of [old, fresh]) {
      socket.write('echo');
      assert.equal(String((await once(socket, 'data'))[0]), 'echo');
    }
  });

  it('an mTLS server stops following its source when it is closed', async () => {
    await using source = await openX509Source(volumes.db);
    const server = createMtlsServer((options) => tls.createServer(options), { source, authorize: anybody });
    assert.equal(source.events.listenerCount('update'), 1);
    server.listen(0);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    assert.equal(source.events.listenerCount('update'), 0);
  });
});

const contextOf = ({ svid }: X509Source) => ({
  key: svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  cert: svid.chainPem,
});

describe('a TLS client', () => {
  for (const { name, make, expected } of peerCases) {
    it(`a TLS client ${'id' in expected ? 'accepts' : 'refuses'} ${name}`, async (t) => {
      const { keyPem, chainPem } = await make(world);
      let received = '';
      const server = tls.createServer({ key: keyPem, cert: chainPem }, (socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (data) => {
          received += String(data);
          socket.end(data);
        });
      });
      const port = await listen(t, server);
      const client = createTlsClient({ source: web, authorize: anybody });
      const socket = client.connect({ host: '127.0.0.1', port });
      socket.write('secret');
      if ('id' in expected) {
        await once(socket, 'secureConnect');
        assert.equal(peerIdOf(socket)?.uri, expected.id);
        assert.equal(await text(socket), 'secret');
        return;
      }
      socket.on('secureConnect', () => assert.fail('it was accepted'));
      const [error] = await once(socket, 'error');
      assert.ok(error instanceof PeerRefusedError, String(error));
      assert.deepEqual([error.rule, error.ownId, peerIdOf(socket)], [expected.rule, webId, undefined]);
      assert.match(error.message, expected.says);
      assert.equal(received, '');
    });
  }

  it('a TLS client resumes no session, so that the server is verified at each connection', async (t) => {
    const sockets: tls.TLSSocket[] = [];
    // A server that offers tickets, unlike ours.
    const server = https.createServer({ ...contextOf(db) }, (request, response) => {
      sockets.push(request.socket as tls.TLSSocket);
      response.end();
    });
    const port = await listen(t, server);
    let asked = 0;
    const authorize = () => {
      asked += 1;
      return true;
    };
    const client = createTlsClient({ source: web, authorize });
    const agent = client.httpsAgent({ keepAlive: false });
    let session: Buffer | undefined;
    for (let count = 0; count < 3; count++) {
      const request = https.get({ host: '127.0.0.1', port, agent });
      const [response] = await once(request, 'response');
      request.socket?.once('session', (given: Buffer) => {
        session = given;
      });
      session ??= (request.socket as tls.TLSSocket).getSession();
      await text(response);
    }
    assert.ok(session);
    // JavaScript may pass what the type does not have.
    const socket = client.connect({ host: '127.0.0.1', port, session } as tls.ConnectionOptions);
    await once(socket, 'secureConnect');
    assert.equal(socket.isSessionReused(), false);
    socket.destroy();
    assert.deepEqual([sockets.some((each) => each.isSessionReused()), asked], [false, 4]);
  });

  it('a TLS client without an identity can talk to a server that requires none', async (t) => {
    const server = createTlsServer((options) => tls.createServer(options, (socket) => socket.end('hello')), {
      source: db,
    });
    const port = await listen(t, server);
    const ask = (authorize: ReturnType<typeof exactly>) =>
      text(createTlsClient({ bundles: web, authorize }).connect({ host: '127.0.0.1', port }));
    assert.equal(await ask(exactly(dbId)), 'hello');
    await assert.rejects(ask(exactly(webId)), /refused by rule "authorizer".*this client has no ID/);
    await rotate(db, volumes.db);
    assert.equal(await ask(exactly(dbId)), 'hello');
  });

  it('a TLS client cannot be made without an authorizer, or without bundles that verify servers', () => {
    const incomplete = [{ source: web }, { authorize: anybody }] as unknown as Parameters<
      typeof createTlsClient
    >[0][];
    for (const options of incomplete) assert.throws(() => createTlsClient(options), TypeError);
    assert.throws(
      () => createMtlsServer(tls.createServer, { source: web } as Parameters<typeof createMtlsServer>[1]),
      TypeError,
    );
  });
});

/** Makes a server of a library with the options of TLS. */
type Secure = <S extends tls.Server>(create: (options: tls.TlsOptions) => S) => S;

/** How the two sides are secured, each with the ID that the server sees of the client. */
interface Way {
  readonly secure: Secure;
  readonly client: (authorize: ReturnType<typeof exactly>) => ReturnType<typeof createTlsClient>;
  readonly seen: string | undefined;
}

const mtlsOf = (server: () => X509Source, client: () => X509Source): Way => ({
  secure: (create) => createMtlsServer(create, { source: server(), authorize: oneOf([webId]) }),
  client: (authorize) => createTlsClient({ source: client(), authorize }),
  seen: webId,
});
const ways: Readonly<Record<string, Way>> = {
  'mTLS with files': mtlsOf(
    () => db,
    () => web,
  ),
  'mTLS with Workload APIs': mtlsOf(
    () => fromSockets.db,
    () => fromSockets.web,
  ),
  'TLS of the server alone': {
    secure: (create) => createTlsServer(create, { source: db }),
    client: (authorize) => createTlsClient({ bundles: web, authorize }),
    seen: undefined,
  },
};

/** New certificates for both sides, which every source has when this ends. */
async function rotateBoth(): Promise<void> {
  const sources = [fromSockets.web, fromSockets.db];
  const updated = sources.map(({ events }) => once(events, 'update', { signal: AbortSignal.timeout(5_000) }));
  await Promise.all([rotate(web, volumes.web), rotate(db, volumes.db), ...updated]);
}

/** Starts a server of a library, which answers with the ID of the client, and gives its port. */
type Serve = (t: TestContext, secure: Secure) => Promise<number>;
const http2Socket = (request: http2.Http2ServerRequest) => request.stream.session?.socket ?? {};

const servers: Readonly<Record<string, Serve>> = {
  https: (t, secure) =>
    listen(
      t,
      secure((options) =>
        https.createServer(options, (request, response) =>
          response.end(String(peerIdOf(request.socket)?.uri)),
        ),
      ),
    ),
  http2: (t, secure) =>
    listen(
      t,
      secure((options) =>
        http2.createSecureServer({ ...options, allowHTTP1: true }, (request, response) => {
          const socket = request.httpVersionMajor === 2 ? http2Socket(request) : request.socket;
          response.end(String(peerIdOf(socket)?.uri));
        }),
      ),
    ),
  fastify: async (t, secure) => {
    const app = fastify({
      serverFactory: (handler) => secure((options) => https.createServer(options, handler)),
    });
    app.get('/', (request) => String(peerIdOf(request.socket)?.uri));
    await app.listen({ port: 0, host: '127.0.0.1' });
    t.after(() => app.close());
    return (app.server.address() as AddressInfo).port;
  },
};

/** Asks a server with a library. */
type Ask = (port: number, client: ReturnType<typeof createTlsClient>) => Promise<string>;
const clients: Readonly<Record<string, Ask>> = {
  https: async (port, client) => {
    const agent = client.httpsAgent({ keepAlive: true });
    try {
      const [response] = await once(https.get({ host: '127.0.0.1', port, agent }), 'response');
      return await text(response);
    } finally {
      agent.destroy();
    }
  },
  http2: async (port, client) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, {
      createConnection: () => client.connect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'] }),
    });
    try {
      const failed = once(session, 'error').then(([error]) => Promise.reject(error));
      failed.catch(() => undefined);
      const stream = session.request({ ':path': '/' });
      return await Promise.race([text(stream), failed]);
    } finally {
      session.destroy();
    }
  },
  undici: async (port, client) => {
    const dispatcher = new Agent({ connect: client.undiciConnect });
    try {
      const { body } = await undiciRequest(`https://127.0.0.1:${port}/`, { dispatcher });
      return await body.text();
    } finally {
      await dispatcher.destroy();
    }
  },
  'fetch of undici': async (port, client) => {
    const dispatcher = new Agent({ connect: client.undiciConnect });
    try {
      return await (await undiciFetch(`https://127.0.0.1:${port}/`, { dispatcher })).text();
    } catch (error) {
      throw (error as Error).cause;
    } finally {
      await dispatcher.destroy();
    }
  },
};

async function connectGrpc(t: TestContext, way: Way): Promise<void> {
  const bytes = (value: Buffer) => value;
  const grpc = new GrpcServer();
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const method = {
    ...{ path: '/test/Echo', requestStream: false as const, responseStream: false as const },
    ...{
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  };
  grpc.addService(
    { echo: method },
    {
      echo: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) =>
        callback(null, call.request),
    },
  );
  const server = way.secure((options) =>
    tls.createServer({ ...options, ALPNProtocols: ['h2'] }, (socket) => injector.injectConnection(socket)),
  );
  const port = await listen(t, server);
  const ask = (authorize: ReturnType<typeof exactly>) => {
    const secure = grpcCredentials.createFromSecureContext(...way.client(authorize).grpcCredentials());
    const client = new Client(`127.0.0.1:${port}`, secure);
    return new Promise<string>((resolve, reject) => {
      client.makeUnaryRequest('/test/Echo', bytes, bytes, Buffer.from('hello'), (error, value) => {
        client.close();
        if (error) reject(error);
        else resolve(String(value));
      });
    });
  };
  for (let count = 0; count < 2; count++) {
    assert.equal(await ask(exactly(dbId)), 'hello');
    await assert.rejects(ask(memberOf('example.com')), /not authorized by memberOf\(example\.com\)/);
    await rotateBoth();
  }
  grpc.forceShutdown();
}

for (const [wayName, way] of Object.entries(ways)) {
  describe(`${wayName}, of libraries`, () => {
    for (const [serverName, startServer] of Object.entries(servers)) {
      for (const [clientName, ask] of Object.entries(clients)) {
        if (clientName === 'http2' && serverName !== 'http2') continue;
        it(`${wayName} connects a client of ${clientName} with a server of ${serverName}, over rotations`, async (t) => {
          const port = await startServer(t, way.secure);
          for (let count = 0; count < 2; count++) {
            assert.equal(await ask(port, way.client(exactly(dbId))), String(way.seen));
            await assert.rejects(ask(port, way.client(exactly(webId))), (error: Error) => {
              const cause = error instanceof PeerRefusedError ? error : error.cause;
              return (
                cause instanceof PeerRefusedError && cause.rule === 'authorizer' && cause.peerId === dbId
              );
            });
            await rotateBoth();
          }
        });
      }
    }

    it(`${wayName} connects a client and a server of @grpc/grpc-js, over rotations`, (t) =>
      connectGrpc(t, way));
  });
}

describe('mTLS of libraries', () => {
  it('an mTLS server of node:https refuses a request without TLS', async (t) => {
    const port = await (servers.https as Serve)(t, (ways['mTLS with files'] as Way).secure);
    await assert.rejects(once(httpGet({ host: '127.0.0.1', port }), 'response'));
  });

  it('handlers of @grpc/grpc-js get the ID of the client: unary and streams, behind an interceptor', async (t) => {
    const bytes = (value: Buffer) => value;
    const codec = {
      ...{ requestSerialize: bytes, requestDeserialize: bytes },
      ...{ responseSerialize: bytes, responseDeserialize: bytes },
    };
    const callerOf = (call: object) => Buffer.from(peerIdOf(call)?.uri ?? 'nobody');
    const grpc = new GrpcServer({ interceptors: [(_method, call) => new ServerInterceptingCall(call)] });
    grpc.addService(
      {
        one: { path: '/test/One', requestStream: false, responseStream: false, ...codec },
        many: { path: '/test/Many', requestStream: true, responseStream: true, ...codec },
      },
      {
        one: (call: object, done: (error: null, value: Buffer) => void) => done(null, callerOf(call)),
        many: (call: ServerDuplexStream<Buffer, Buffer>) => {
          call.on('data', () => call.write(callerOf(call))).on('end', () => call.end());
        },
      },
    );
    t.after(() => grpc.forceShutdown());
    const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
    const server = createMtlsServer(
      (options) =>
        tls.createServer({ ...options, ALPNProtocols: ['h2'] }, (socket) =>
          injector.injectConnection(socket),
        ),
      { source: db, authorize: exactly(webId) },
    );
    const bare = net.createServer((socket) => injector.injectConnection(socket));
    bare.listen(0, '127.0.0.1');
    await once(bare, 'listening');
    t.after(() => bare.close());
    const secure = createTlsClient({ source: web, authorize: exactly(dbId) }).grpcCredentials();
    for (const [port, credentials, expected] of [
      [await listen(t, server), grpcCredentials.createFromSecureContext(...secure), webId],
      [(bare.address() as AddressInfo).port, grpcCredentials.createInsecure(), 'nobody'],
    ] as const) {
      const client = new Client(`127.0.0.1:${port}`, credentials);
      const one = await new Promise((resolve, reject) =>
        client.makeUnaryRequest('/test/One', bytes, bytes, Buffer.from('x'), (error, value) =>
          error ? reject(error) : resolve(String(value)),
        ),
      );
      const stream = client.makeBidiStreamRequest('/test/Many', bytes, bytes);
      stream.write(Buffer.from('x'));
      const [many] = await once(stream, 'data', { signal: AbortSignal.timeout(5_000) });
      const ended = once(stream, 'end', { signal: AbortSignal.timeout(5_000) });
      stream.end();
      await ended;
      client.close();
      assert.deepEqual([one, String(many)], [expected, expected]);
    }
  });
});
