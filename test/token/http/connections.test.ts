import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { realTime } from '../../../signer/kube/time.ts';
import { createHttp } from '../../../signer/token/http/http.ts';
import { type HttpLimits, usualLimits } from '../../../signer/token/http/limits.ts';
import { tlsOptions } from '../../../signer/token/http/tls.ts';
import { waitFor } from '../../cluster/process.ts';
import { type ServerCredentials, webCredentials } from '../../contract/bundle-endpoint.ts';
import { aCertificateOf } from './large-certificates.ts';

let credentials: ServerCredentials;
before(async () => {
  credentials = await webCredentials();
});

/** Short ones, so that what takes long in earnest is over within a test. */
const short: HttpLimits = {
  ...usualLimits,
  handshakeMs: 1_000,
  requestMs: 1_000,
  keepAliveMs: 300,
  idleMs: 2_000,
  closingMs: 300,
};

/** A real listener with one route, whose answer can be held back. */
async function aListener(
  different: Partial<HttpLimits> = {},
  more: { isOverRate?: boolean; newConnections?: number; asksForCertificates?: boolean } = {},
) {
  let { newConnections = Number.POSITIVE_INFINITY } = more;
  const refusals: string[] = [];
  const cuts: string[] = [];
  const http = createHttp({
    tls: tlsOptions(
      { keyPem: credentials.key, chainPem: credentials.cert },
      { minTlsVersion: 'TLSv1.2', asksForCertificates: more.asksForCertificates ?? true },
    ),
    limits: {
      ...short,
      ...different,
      ...(different.connections && { connectionsWithCertificates: different.connections }),
    },
    addressLimits: { take: () => (more.isOverRate ? 1 : 0) },
    connectionRate: {
      take: () => {
        newConnections -= 1;
        return newConnections >= 0 ? 0 : 1;
      },
      charge: (_address, amount) => {
        newConnections -= amount;
      },
    },
    report: ({ address, path }, outcome) => {
      if (!outcome.ok) refusals.push(`${outcome.code} ${address} ${path}`);
    },
    onCut: (cause) => cuts.push(cause),
    onError: (error) => assert.fail(error),
    time: realTime,
  });
  const held = Promise.withResolvers<void>();
  http.app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  );
  http.app.post('/echo', async (request, reply) => reply.type('text/plain').send(request.body));
  http.app.get('/held', async (_request, reply) => {
    await held.promise;
    return reply.type('text/plain').send('late');
  });
  await http.app.ready();
  http.server.listen(0, '127.0.0.1');
  await once(http.server, 'listening');
  const { port } = http.server.address() as AddressInfo;
  const connections = () =>
    new Promise<number>((resolve) => http.server.getConnections((_error, count) => resolve(count)));
  return {
    port,
    refusals,
    cuts,
    connections,
    release: held.resolve,
    isListening: () => http.server.listening,
    async stop() {
      held.resolve();
      await http.app.close();
    },
  };
}

const clients = new Set<Socket>();
after(() => {
  for (const client of clients) client.destroy();
});

/** A client that takes no hint: its end stays open when the other end has said goodbye. */
function stubborn(socket: Socket): { socket: Socket; text: () => string } {
  let text = '';
  clients.add(socket);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  return { socket, text: () => text };
}
const tcp = (port: number, localAddress = '127.0.0.1') =>
  stubborn(connectTcp({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true }));
const tls = (port: number, localAddress = '127.0.0.1', credential: ConnectionOptions = {}) =>
  stubborn(
    // The types do not know that options of the connection are passed on.
    connectTls({
      ...{ port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true },
      ...{ localAddress },
      ...credential,
    }),
  );

/** Sends a text a byte at a time, for ever. */
function dribble(socket: Socket, text: string | Buffer): void {
  const bytes = Buffer.from(text);
  let at = 0;
  const timer = setInterval(() => {
    if (socket.writable) socket.write(bytes.subarray(at, at + 1));
    at = (at + 1) % bytes.length;
  }, 50);
  socket.once('close', () => clearInterval(timer));
}

/** The first bytes that a TLS client says. */
async function clientHello(): Promise<Buffer> {
  const { createServer } = await import('node:net');
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tls((server.address() as AddressInfo).port);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(accepted, 'data')) as [Buffer];
  client.socket.destroy();
  accepted.destroy();
  server.close();
  return hello;
}

const post = (length: number, body = '') =>
  `POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n${body}`;

interface Hostile {
  readonly name: string;
  readonly over: typeof tcp;
  readonly asksForCertificates?: boolean;
  readonly does: (socket: Socket) => void | Promise<void>;
  /** The status of each answer that it gets. */
  readonly statuses: readonly string[];
  readonly cuts?: readonly string[];
  readonly refusals?: readonly string[];
}

const hostile: readonly Hostile[] = [
  { name: 'sends nothing', over: tcp, does: () => {}, statuses: [], cuts: ['handshake'] },
  {
    name: 'sends its ClientHello a byte at a time',
    over: tcp,
    does: async (socket) => dribble(socket, await clientHello()),
    statuses: [],
    cuts: ['handshake'],
  },
  {
    name: 'speaks no TLS',
    over: tcp,
    does: (socket) => dribble(socket, 'GET / HTTP/1.1\r\n'),
    statuses: [],
    cuts: ['handshake'],
  },
  {
    name: 'sends nothing after its handshake',
    over: tls,
    does: () => {},
    statuses: ['408'],
    refusals: ['RequestTooSlow 127.0.0.1 '],
  },
  {
    name: 'sends its headers a byte at a time',
    over: tls,
    does: (socket) => dribble(socket, 'GET /echo HTTP/1.1\r\nX: '),
    statuses: ['408'],
    refusals: ['RequestTooSlow 127.0.0.1 '],
  },
  {
    name: 'sends its body a byte at a time',
    over: tls,
    does: (socket) => {
      socket.write(post(60_000));
      dribble(socket, 'a');
    },
    statuses: ['408'],
    refusals: ['RequestTooSlow 127.0.0.1 /echo'],
  },
  {
    name: 'goes on with its body after the answer',
    over: tls,
    does: (socket) => {
      socket.write(post(70_000));
      dribble(socket, 'a');
    },
    statuses: ['413'],
    refusals: ['RequestTooLarge 127.0.0.1 /echo'],
  },
  {
    name: 'sends headers without an end',
    over: tls,
    // Where clients are asked for certificates, so much at once may be a certificate.
    asksForCertificates: false,
    does: (socket) => {
      socket.write(`GET /echo HTTP/1.1\r\nX: ${'a'.repeat(40_000)}`);
      dribble(socket, 'a');
    },
    statuses: ['431'],
    refusals: ['RequestTooLarge 127.0.0.1 '],
  },
  {
    name: 'speaks another protocol',
    over: tls,
    does: (socket) => dribble(socket, 'SSH-2.0-OpenSSH_9.9\r\n'),
    statuses: ['400'],
    refusals: ['RequestMalformed 127.0.0.1 '],
  },
  {
    name: 'has its answer and keeps the connection',
    over: tls,
    does: (socket) => void socket.write(post(1, 'a')),
    statuses: ['200'],
  },
  {
    name: 'sends something else behind a request that has no answer yet',
    over: tls,
    does: (socket) => void socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\nSSH-2.0-OpenSSH_9.9\r\n\r\n'),
    statuses: [],
    refusals: ['RequestMalformed 127.0.0.1 '],
  },
];

describe('a client that ignores every goodbye', { concurrency: true }, () => {
  for (const {
    name,
    over,
    asksForCertificates = true,
    does,
    statuses,
    cuts = [],
    refusals = [],
  } of hostile) {
    it(`a client that ignores every goodbye is disconnected when it ${name}`, async () => {
      const listener = await aListener({}, { asksForCertificates });
      try {
        const { socket, text } = over(listener.port);
        await once(socket, over === tls ? 'secureConnect' : 'connect');
        const startedAt = performance.now();
        await does(socket);
        await waitFor('the server to let go of it', async () => (await listener.connections()) === 0, {
          timeoutMs: 10_000,
        });
        // Three seconds where nothing else runs: for the request, until that is looked at, and for the answer.
        assert.ok(performance.now() - startedAt < 8_000, `${performance.now() - startedAt} ms`);
        assert.deepEqual(
          [...text().matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status),
          statuses,
        );
        assert.deepEqual([listener.cuts, listener.refusals], [cuts, refusals]);
      } finally {
        await listener.stop();
      }
    });
  }
});

describe('a listener that closes', () => {
  it('a closing listener accepts no connection, finishes the answers under way, and disconnects clients that stay', async () => {
    const listener = await aListener({ ...usualLimits, closingMs: 1_000 });
    const silent = tcp(listener.port);
    const idle = tls(listener.port);
    idle.socket.write(post(1, 'a'));
    const waiting = tls(listener.port);
    waiting.socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
    await waitFor('the first answer', () => idle.text().includes('200 OK'));
    await waitFor('three connections', async () => (await listener.connections()) === 3);
    const stopped = listener.stop();
    await waitFor('the late answer', () => waiting.text().includes('late'));
    assert.equal(listener.isListening(), false);
    await stopped;
    for (const { socket } of [silent, idle, waiting]) {
      await waitFor('the end of the connection', () => socket.readableEnded || socket.closed);
    }
  });
});

describe('too many clients', { concurrency: true }, () => {
  const answered = async ({ socket, text }: ReturnType<typeof tls>) => {
    socket.write(post(1, 'a'));
    await waitFor('the answer', () => text().includes('200 OK'));
  };
  const isClosed = ({ socket }: ReturnType<typeof tls>) =>
    waitFor('the end of the connection', () => socket.readableEnded || socket.closed);

  it('one address has a limit of connections, and another address has its own', async () => {
    const listener = await aListener({ handshakeMs: 60_000, connections: { total: 100, perAddress: 3 } });
    const first = [tcp(listener.port), tcp(listener.port), tcp(listener.port)];
    await waitFor('three connections', async () => (await listener.connections()) === 3);
    await isClosed(tcp(listener.port));
    assert.deepEqual(listener.cuts, ['address']);
    await answered(tls(listener.port, '127.0.0.2'));
    first[0]?.socket.destroy();
    await waitFor('room for one more', async () => (await listener.connections()) === 3);
    await answered(tls(listener.port));
    await listener.stop();
  });

  it('new connections of one address have a limit of their rate, and the open ones are served', async () => {
    const listener = await aListener({ keepAliveMs: 60_000 }, { newConnections: 1 });
    const first = tls(listener.port);
    await answered(first);
    await isClosed(tcp(listener.port));
    assert.deepEqual(listener.cuts, ['rate']);
    first.socket.write(post(1, 'a'));
    await waitFor('a second answer', () => first.text().split('200 OK').length === 3);
    await listener.stop();
  });

  it('new connections are accepted while others only wait for their next request', async () => {
    const listener = await aListener({ keepAliveMs: 60_000, connections: { total: 8, perAddress: 8 } });
    for (let i = 0; i < 30; i += 1) await answered(tls(listener.port));
    assert.deepEqual(listener.cuts, []);
    await listener.stop();
  });

  it('the limit of connections does not end the answer that is under way', async () => {
    const listener = await aListener({ connections: { total: 8, perAddress: 8 }, requestMs: 60_000 });
    const waiting = tls(listener.port);
    waiting.socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
    for (let i = 0; i < 10; i += 1) await answered(tls(listener.port));
    listener.release();
    await waitFor('the late answer', () => waiting.text().includes('late'));
    await listener.stop();
  });

  it('the total of connections has a limit', async () => {
    const listener = await aListener({ handshakeMs: 60_000, connections: { total: 2, perAddress: 2 } });
    tcp(listener.port);
    tcp(listener.port, '127.0.0.2');
    await waitFor('two connections', async () => (await listener.connections()) === 2);
    await isClosed(tcp(listener.port, '127.0.0.3'));
    assert.deepEqual(listener.cuts, ['full']);
    await listener.stop();
  });

  it('requests under way have a limit, and further ones are asked to come later', async () => {
    const listener = await aListener({ requests: 1, requestMs: 60_000 });
    const waiting = tls(listener.port);
    waiting.socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
    const next = tls(listener.port);
    await waitFor('the refusal', () => {
      if (next.socket.writableLength === 0) next.socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
      return next.text().includes('"Overloaded"');
    });
    assert.match(next.text(), /^HTTP\/1\.1 503 .*retry-after: \d/is);
    assert.ok(listener.refusals.includes('Overloaded 127.0.0.1 /held'));
    listener.release();
    await waitFor('the first answer', () => waiting.text().includes('late'));
    await answered(tls(listener.port));
    await listener.stop();
  });

  it('malformed requests and those without a path count towards the rate limit', async () => {
    const listener = await aListener({}, { isOverRate: true });
    const { socket, text } = tls(listener.port);
    socket.write('GET /%ff HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n');
    await waitFor('two answers', () => text().split('"AddressLimited"').length === 3);
    assert.deepEqual(listener.refusals, ['AddressLimited 127.0.0.1 /%ff', 'AddressLimited 127.0.0.1 /echo']);
    await listener.stop();
  });
});

describe('a listener that asks for client certificates', { concurrency: true }, () => {
  it('a listener with client certificates serves a client whose certificates are large, as in a long chain', async () => {
    const listener = await aListener();
    const { socket, text } = tls(listener.port, '127.0.0.1', await aCertificateOf(12_000));
    await once(socket, 'secureConnect');
    socket.write(post(1, 'a'));
    await waitFor('the answer', () => text().includes('200 OK'));
    assert.deepEqual(listener.cuts, []);
    await listener.stop();
  });

  it('a listener disconnects a client with a far larger certificate after its handshake, and delays its address', async () => {
    const listener = await aListener({}, { newConnections: 50 });
    const { socket, text } = tls(listener.port, '127.0.0.1', await aCertificateOf(90_000));
    socket.write(post(1, 'a'));
    await waitFor('the end of the connection', () => socket.readableEnded || socket.closed);
    assert.deepEqual([listener.cuts, text()], [['certificate'], '']);
    const next = tls(listener.port);
    await waitFor('the end of the next', () => next.socket.readableEnded || next.socket.closed);
    assert.deepEqual(listener.cuts, ['certificate', 'rate']);
    await listener.stop();
  });

  it('a listener allows a few handshakes at once, and no address waits for the slow ones of another', async () => {
    const handshakes = { total: 3, perAddress: 2 };
    const listener = await aListener({
      handshakeMs: 60_000,
      clientCertificates: { ...short.clientCertificates, handshakes },
    });
    const slow = [tcp(listener.port), tcp(listener.port)];
    await waitFor('two connections', async () => (await listener.connections()) === 2);
    const waiting = tls(listener.port);
    waiting.socket.write(post(1, 'a'));
    const other = tls(listener.port, '127.0.0.2');
    other.socket.write(post(1, 'a'));
    await waitFor('the answer to the other address', () => other.text().includes('200 OK'));
    assert.equal(waiting.text(), '');
    slow[0]?.socket.destroy();
    await waitFor('the answer to the one that waited', () => waiting.text().includes('200 OK'));
    await listener.stop();
  });

  it('a listener closes a connection that does not reach its handshake in time', async () => {
    const listener = await aListener({
      handshakeMs: 300,
      clientCertificates: { ...short.clientCertificates, handshakes: { total: 0, perAddress: 1 } },
    });
    const { socket } = tls(listener.port);
    await waitFor('the end of the connection', () => socket.readableEnded || socket.closed);
    assert.deepEqual(listener.cuts, ['handshake']);
    await listener.stop();
  });
});
