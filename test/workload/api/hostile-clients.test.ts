import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';
import type { ApiX509Svid } from '../../../workload/api/state.ts';
import { tokensFromEndpoint } from '../../../workload/api/token-endpoint.ts';
import { createWorkloadSource } from '../../../workload/api/workload-source.ts';
import { openX509Source } from '../../../workload/x509-source.ts';
import { freePorts } from '../../cluster/ports.ts';
import { waitFor } from '../../cluster/process.ts';
import { tokenOf } from '../../spiffe/tokens.ts';
import { credentialsFor, newVolume } from '../credentials.ts';
import { ask, header, type Served, serve } from './client.ts';
import {
  createWorkload,
  issueSvid,
  jwtSvid,
  makeTrustDomain,
  stateOf,
  type TestTrustDomain,
} from './workload.ts';

let home: TestTrustDomain;
let svid: ApiX509Svid;
let workload: ReturnType<typeof createWorkload>;
let served: Served;
before(async () => {
  home = await makeTrustDomain('example.org');
  svid = await issueSvid(home, '/ns/shop/sa/web');
  workload = createWorkload(home, stateOf([svid], [home]));
  served = await serve({ source: workload.source });
});
after(() => served[Symbol.asyncDispose]());

const path = () => served.uri.slice('unix://'.length);

/** Whatever one client does, another one gets its SVID. */
async function assertOthersAreServed(): Promise<void> {
  const answer = await ask(served.client, 'FetchX509SVID');
  assert.ok('answer' in answer, JSON.stringify(answer));
}

async function withSession<T>(
  act: (session: ClientHttp2Session) => Promise<T>,
  createConnection = () => connect(path()),
): Promise<T> {
  const session = connectHttp2('http://localhost', { createConnection });
  session.on('error', () => undefined);
  try {
    return await act(session);
  } finally {
    session.destroy();
  }
}

/** Sends bytes as the body of a call, and returns the status of gRPC and of HTTP. */
async function call(
  session: ClientHttp2Session,
  method: string,
  body: Buffer,
  headers: object = {},
): Promise<{ grpcStatus?: number; http?: number }> {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/SpiffeWorkloadAPI/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
    ...headers,
  });
  const seen: { grpcStatus?: number; http?: number } = {};
  const take = (fields: Record<string, unknown>) => {
    if (fields[':status'] !== undefined) seen.http = Number(fields[':status']);
    if (fields['grpc-status'] !== undefined) seen.grpcStatus = Number(fields['grpc-status']);
  };
  stream
    .on('response', take)
    .on('trailers', take)
    .on('error', () => undefined)
    .resume();
  stream.end(body);
  await once(stream, 'close');
  return seen;
}

/** A message of gRPC: whether it is compressed, its length by its own words, and its bytes. */
function framed(bytes: Buffer, { isCompressed = false, length = bytes.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

describe('a client of the Workload API', () => {
  const garbage: [string, status | undefined, Buffer, object?][] = [
    ['a message that is not protobuf', status.INTERNAL, framed(Buffer.from('ffffffffffffffffffff', 'hex'))],
    ['a field of the wrong type', status.INVALID_ARGUMENT, framed(Buffer.from([0x08, 0x01]))],
    [
      'a field that is longer than its message',
      status.INVALID_ARGUMENT,
      framed(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])),
    ],
    [
      'a message that claims a length of 4 GB',
      status.RESOURCE_EXHAUSTED,
      framed(Buffer.alloc(8), { length: 0xffff_ffff }),
    ],
    [
      'a message that is marked as compressed and is not',
      status.INTERNAL,
      framed(Buffer.from('xx'), { isCompressed: true }),
      { 'grpc-encoding': 'gzip' },
    ],
    [
      'an unknown compression',
      status.UNIMPLEMENTED,
      framed(Buffer.alloc(2), { isCompressed: true }),
      { 'grpc-encoding': 'rot13' },
    ],
    ['no message', status.UNIMPLEMENTED, Buffer.alloc(0)],
    ['half a message', status.UNIMPLEMENTED, framed(Buffer.alloc(2), { length: 100 })],
    ['two messages', status.UNIMPLEMENTED, Buffer.concat([framed(Buffer.alloc(0)), framed(Buffer.alloc(0))])],
    ['another content type', undefined, framed(Buffer.alloc(0)), { 'content-type': 'application/json' }],
    [
      'a deadline that is not a duration',
      status.INTERNAL,
      framed(Buffer.alloc(0)),
      { 'grpc-timeout': 'soon' },
    ],
  ];
  for (const [what, expected, body, headers] of garbage) {
    it(`a client that sends ${what} is refused, and others are served`, async () => {
      await withSession(async (session) => {
        for (const method of ['FetchJWTSVID', 'ValidateJWTSVID']) {
          const { grpcStatus, http } = await call(session, method, body, headers);
          assert.deepEqual([grpcStatus, http], [expected, expected === undefined ? 415 : 200]);
        }
      });
      await assertOthersAreServed();
    });
  }

  it('a client that calls an unknown method is refused', async () => {
    await withSession(async (session) => {
      for (const method of ['FetchWITSVID', 'fetchX509SVID', '']) {
        const { grpcStatus } = await call(session, method, framed(Buffer.alloc(0)));
        assert.equal(grpcStatus, status.UNIMPLEMENTED, method);
      }
    });
  });

  const otherProtocols: [string, string][] = [
    ['HTTP/1.1, as a web page does', 'GET /SpiffeWorkloadAPI/FetchX509SVID HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003'.padEnd(64, 'x')],
    [
      'the start of HTTP/2, and then something else',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxx',
    ],
  ];
  for (const [what, text] of otherProtocols) {
    it(`a client that speaks ${what} is disconnected, and others are served`, async () => {
      const socket = connect(path());
      socket.write(Buffer.from(text, 'latin1'));
      const received: Buffer[] = [];
      socket.on('data', (bytes) => received.push(bytes)).on('error', () => undefined);
      await once(socket, 'close');
      assert.ok(!Buffer.concat(received).includes(Buffer.from(svid.key)));
      await assertOthersAreServed();
    });
  }

  it('a client that opens 10,000 streams delays no other, and gets only the allowed number of streams', async () => {
    await waitFor('the end of earlier streams', () => workload.listening() === 0);
    await withSession(async (session) => {
      await once(session, 'remoteSettings');
      for (let count = 0; count < 10_000; count += 1) {
        const stream = session.request({
          ':method': 'POST',
          ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
          'content-type': 'application/grpc',
          te: 'trailers',
          'workload.spiffe.io': 'true',
        });
        stream.on('error', () => undefined).resume();
        stream.end(framed(Buffer.alloc(0)));
      }
      await waitFor('the streams that are allowed', () => workload.listening() === 128);
      await assertOthersAreServed();
      assert.ok(workload.listening() <= 129, 'its own and that of the other client');
    });
    await waitFor('the end of the streams', () => workload.listening() === 0);
  });

  const calls: [string, string, object][] = [
    [
      'a method',
      'FetchX509SVID',
      { 'content-type': 'application/grpc', te: 'trailers', 'workload.spiffe.io': 'true' },
    ],
    ['a method without metadata', 'FetchX509SVID', { 'content-type': 'application/grpc' }],
    ['an unknown method', 'FetchWITSVID', { 'content-type': 'application/grpc' }],
    ['another content type', 'FetchX509SVID', {}],
  ];
  for (const [what, method, headers] of calls) {
    it(`a client that calls and cancels ${what} without end is disconnected, and others are served`, async () => {
      await withSession(async (session) => {
        let count = 0;
        for (; count < 5_000 && !session.closed && !session.destroyed; count += 1) {
          const stream = session.request({
            ':method': 'POST',
            ':path': `/SpiffeWorkloadAPI/${method}`,
            ...headers,
          });
          stream.on('error', () => undefined);
          if (count % 10 === 0) await setImmediate();
          stream.close(count % 2 === 0 ? constants.NGHTTP2_CANCEL : constants.NGHTTP2_PROTOCOL_ERROR);
        }
        assert.ok(count < 5_000, 'it was disconnected');
      });
      await assertOthersAreServed();
    });
  }

  for (const transport of ['a Unix socket', 'TCP']) {
    it(`a client that connects over ${transport} and sends nothing is disconnected after ten seconds`, async (t) => {
      const [port = 0] = await freePorts(1);
      const at = transport === 'TCP' ? `tcp://127.0.0.1:${port}` : undefined;
      await using own = await serve({ source: workload.source }, at);
      const open = () =>
        at === undefined ? connect(own.uri.slice('unix://'.length)) : connect(port, '127.0.0.1');
      t.mock.timers.enable({ apis: ['setTimeout'] });
      await withSession(async (session) => {
        const isAnswered = async () => {
          const { http, grpcStatus } = await call(session, 'ValidateJWTSVID', framed(Buffer.alloc(0)));
          return http === 200 && grpcStatus === status.INVALID_ARGUMENT;
        };
        assert.ok(await isAnswered());
        const silent = open();
        let isClosed = false;
        silent.resume().on('close', () => {
          isClosed = true;
        });
        await once(silent, 'connect');
        for (let count = 0; count < 100 && !isClosed; count += 1) {
          await setImmediate();
          t.mock.timers.tick(10_000);
        }
        assert.ok(isClosed);
        assert.deepEqual([session.closed, session.destroyed], [false, false]);
        assert.ok(await isAnswered(), 'a client that sent the preface keeps its connection');
      }, open);
    });
  }

  it('a client that connects over TCP needs the header too', async () => {
    const [port = 0] = await freePorts(1);
    for (const host of ['127.0.0.1', '[::1]']) {
      await using overTcp = await serve({ source: workload.source }, `tcp://${host}:${port}`);
      const refused = await ask(overTcp.client, 'FetchX509SVID', {}, header(''));
      assert.partialDeepStrictEqual(refused, { code: status.INVALID_ARGUMENT });
      assert.ok('answer' in (await ask(overTcp.client, 'FetchX509SVID')));
    }
  });
});

describe('ValidateJWTSVID', () => {
  const claims = () => ({ sub: svid.spiffeId, aud: ['a'], exp: Math.floor(Date.now() / 1000) + 60 });
  const nested = (levels: number) => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
  const publicPem = () => home.tokens.publicKey.export({ type: 'spki', format: 'pem' });
  const forged = (header: object, key?: string | Buffer) => {
    const [head, body] = jwtSvid(home, claims()).split('.');
    const start = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${body}`;
    assert.ok(head);
    return `${start}.${key === undefined ? '' : createHmac('sha256', key).update(start).digest('base64url')}`;
  };

  const tokens: [string, () => string, RegExp][] = [
    ['without a signature and with alg none', () => forged({ alg: 'none', kid: home.tokens.kid }), /alg/],
    [
      'that the public key signed by HS256',
      () => forged({ alg: 'HS256', kid: home.tokens.kid }, publicPem()),
      /alg/,
    ],
    [
      'with a name twice',
      () => tokenOf(home.tokens, '{"alg":"ES256","kid":"x","kid":"y"}', claims()),
      /twice/,
    ],
    [
      'in the JSON serialization',
      () => JSON.stringify({ payload: 'x', signatures: [] }),
      /JSON serialization/,
    ],
    ['whose sub is a path', () => jwtSvid(home, { ...claims(), sub: '/ns/shop/sa/web' }), /sub/],
    [
      'whose sub has a parent folder in it',
      () => jwtSvid(home, { ...claims(), sub: 'spiffe://example.org/../x' }),
      /sub/,
    ],
    [
      'with claims that are nested 2,000 deep',
      () => jwtSvid(home, { ...claims(), deep: nested(2_000) }),
      /deeper than 32/,
    ],
  ];
  for (const [what, token, reason] of tokens) {
    it(`ValidateJWTSVID refuses a token ${what}`, async () => {
      const refused = await ask(served.client, 'ValidateJWTSVID', { audience: 'a', svid: token() });
      assert.ok('code' in refused, JSON.stringify(refused));
      assert.equal(refused.code, status.INVALID_ARGUMENT);
      assert.match(refused.details, reason);
    });
  }

  it('ValidateJWTSVID returns claims with strange names unchanged, in a form that every client reads', async () => {
    const strange = JSON.parse('{"__proto__":{"isAdmin":true},"constructor":"x","":1}');
    const token = tokenOf(
      home.tokens,
      { alg: 'ES256', kid: home.tokens.kid },
      { ...claims(), strange, deep: nested(20) },
    );
    const validated = await ask(served.client, 'ValidateJWTSVID', { audience: 'a', svid: token });
    assert.ok('answer' in validated, JSON.stringify(validated));
    assert.equal(({} as { isAdmin?: boolean }).isAdmin, undefined);
  });
});

describe('FetchJWTSVID', () => {
  it('FetchJWTSVID refuses an audience that is not UTF-8', async () => {
    const request = framed(Buffer.from([0x0a, 0x02, 0xc3, 0x28]));
    const { grpcStatus } = await withSession((session) => call(session, 'FetchJWTSVID', request));
    assert.equal(grpcStatus, status.INVALID_ARGUMENT);
  });
});

describe('a token endpoint behind the Workload API', () => {
  const parts = new AsyncDisposableStack();
  let endpoint: https.Server;
  let answer: (response: ServerResponse) => void;
  let withTokens: Served;
  before(async () => {
    const folder = parts.adopt(mkdtempSync(join(tmpdir(), 'workload-api-')), (made) =>
      rmSync(made, { recursive: true }),
    );
    const { pem } = await credentialsFor(svid.spiffeId, home.ca);
    const volume = newVolume(folder, { 'credentials.pem': pem, 'roots.pem': home.ca.pem });
    const source = parts.use(await openX509Source(volume));
    const own = await credentialsFor('spiffe://example.org/kubespiffe/token-endpoint', home.ca);
    endpoint = https.createServer({ key: own.keyPem, cert: own.chainPem }, (_, response) => answer(response));
    await once(endpoint.listen(0, '127.0.0.1'), 'listening');
    parts.defer(() => endpoint.close().closeAllConnections());
    const url = new URL(`https://localhost:${(endpoint.address() as AddressInfo).port}`);
    const workload = createWorkloadSource({
      credentials: [{ source, hint: '' }],
      bundles: [],
      tokensOf: (credential) =>
        tokensFromEndpoint(credential, { endpoint: url, tokenFile: undefined, env: {} }),
      onProblem: () => undefined,
    });
    withTokens = parts.use(await serve({ source: workload }));
  });
  after(() => parts.disposeAsync());

  const given = (token: unknown) => (response: ServerResponse) =>
    void response.end(JSON.stringify({ access_token: token, token_type: 'N_A' }));
  const answers: [string, (response: ServerResponse) => void][] = [
    ['hangs up', (response) => response.destroy()],
    ['answers with garbage', (response) => response.end('<html>')],
    ['answers with status 500', (response) => response.writeHead(500).end('{}')],
    ['redirects', (response) => response.writeHead(302, { location: 'https://localhost/' }).end()],
    ['gives no token', given(undefined)],
    ['gives a text that is not a token', given('not a token')],
    [
      'gives a token for another audience',
      (response) => given(jwtSvid(home, { sub: svid.spiffeId, aud: ['b'] }))(response),
    ],
    [
      'gives a token that has expired',
      (response) => given(jwtSvid(home, { sub: svid.spiffeId, aud: ['a'], exp: 1_000_000_000 }))(response),
    ],
  ];
  for (const [what, act] of answers) {
    it(`a token endpoint that ${what} makes FetchJWTSVID unavailable, and no other method`, async () => {
      answer = act;
      const refused = await ask(withTokens.client, 'FetchJWTSVID', { audience: ['a'] });
      assert.ok('code' in refused, JSON.stringify(refused));
      assert.equal(refused.code, status.UNAVAILABLE);
      assert.match(refused.details, /localhost|the endpoint/);
      assert.ok('answer' in (await ask(withTokens.client, 'FetchX509SVID')));
    });
  }

  it('a token endpoint that never answers delays only callers of FetchJWTSVID, until their deadline', async () => {
    const asked = Promise.withResolvers<void>();
    answer = () => asked.resolve();
    const refused = new Promise<ServiceError | null>((resolve) => {
      const deadline = Date.now() + 500;
      const request = { audience: ['never'] };
      withTokens.client.FetchJWTSVID(request, header(), { deadline }, (error: ServiceError | null) =>
        resolve(error),
      );
    });
    await asked.promise;
    assert.ok('answer' in (await ask(withTokens.client, 'FetchX509SVID')));
    assert.equal((await refused)?.code, status.DEADLINE_EXCEEDED);
  });
});
