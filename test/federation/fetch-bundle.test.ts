import 'reflect-metadata';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { connect, createSecureContext } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { createAddressRule } from '../../client/address-rule.ts';
import { webContext } from '../../client/bundle-endpoint.ts';
import { addressesOf } from '../../client/host-lookup.ts';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { fetchBundle } from '../../signer/federation/fetch-bundle.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { startDnsServer } from '../client/dns-server.ts';
import { startConnectProxy } from '../cluster/connect-proxy.ts';
import {
  type Answers,
  type ServerCredentials,
  serve,
  svidOf,
  webCredentials,
} from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';

/** The versions of TLS in the extension supported_versions of a ClientHello, in hex (RFC 8446 4.2.1). */
function versionsOffered(hello: Buffer): string[] {
  // The type 43, its length, the length of the list.
  const at = hello.indexOf(Buffer.from('002b', 'hex'), 76);
  const length = hello.readUInt8(at + 4);
  return hello.toString('hex', at + 5, at + 5 + length).match(/.{4}/g) ?? [];
}

const trustDomain = 'partner.example';
const loopback = createAddressRule([{ address: '127.0.0.0', prefix: 8 }]);
const id = parseSpiffeId(`spiffe://${trustDomain}/endpoint`);
assert.ok(id.ok);
const endpointId = id.value;

async function poolOf(name: string): Promise<Pool> {
  const compiled = compilePool(await aPool({ trustDomain: name }), name);
  assert.ok(compiled.ok);
  return compiled.pool;
}

describe('fetching the bundle of another trust domain', () => {
  let web: ServerCredentials;
  let partner: Pool;
  const closes: (() => unknown)[] = [];
  before(async () => {
    web = await webCredentials();
    partner = await poolOf(trustDomain);
  });
  after(() => Promise.all(closes.map((close) => close())));

  const svid = (pool: Pool, path = 'endpoint', lifetimeSeconds?: number) => {
    const signing = signingAuthorityAt(pool, Math.floor(Date.now() / 1000), 0);
    assert.ok(signing.ok);
    return svidOf(signing.authority, [path], lifetimeSeconds);
  };
  async function answering(credentials: ServerCredentials, answers: Answers): Promise<string> {
    const server = await serve(credentials, answers);
    closes.push(server.close);
    return server.url;
  }
  async function listening(server: Server): Promise<number> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closes.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }
  interface Wishes {
    readonly rootsPem?: string | undefined;
    readonly etag?: string;
    readonly addresses?: typeof loopback;
  }
  const common = { signal: AbortSignal.timeout(20_000), etag: undefined, addresses: loopback };
  const overWeb = (url: string, { rootsPem = web.cert, ...others }: Wishes = {}) =>
    fetchBundle({ kind: 'https_web', url: new URL(url), rootsPem }, { ...common, anchors: [], ...others });
  const overSpiffe = (url: string, anchors = partner.roots) =>
    fetchBundle(
      { kind: 'https_spiffe', url: new URL(url), endpointId, bootstrapBundle: undefined },
      { ...common, anchors },
    );
  const refused = (fetched: Awaited<ReturnType<typeof fetchBundle>>, reason: RegExp) => {
    assert.ok(!fetched.ok, 'it was fetched');
    assert.match(fetched.reason, reason);
  };
  const good = { '/': { body: '{}', headers: { etag: '"1"' } } };

  it('fetching a foreign bundle gets the document with its ETag, over both profiles', async () => {
    for (const fetched of [
      await overWeb(await answering(web, good)),
      await overSpiffe(await answering(await svid(partner), good)),
    ]) {
      assert.ok(fetched.ok, fetched.ok ? '' : fetched.reason);
      assert.equal(String(fetched.value.document), '{}');
      assert.equal(fetched.value.etag, '"1"');
    }
  });

  it('fetching a foreign bundle gets no document if its ETag is known', async () => {
    const fetched = await overWeb(await answering(web, { '/': { status: 304 } }), { etag: '"1"' });
    assert.ok(fetched.ok);
    assert.deepEqual(fetched.value, { document: undefined, etag: '"1"' });
  });

  it('fetching a foreign bundle offers only TLS 1.3 and 1.2, over both profiles', async () => {
    const offered: string[] = [];
    const server = createTcpServer((socket) => {
      socket.once('data', (hello) => {
        offered.push(...versionsOffered(hello));
        socket.destroy();
      });
    });
    const url = `https://127.0.0.1:${await listening(server)}/`;
    for (const fetched of [await overWeb(url), await overSpiffe(url)]) assert.ok(!fetched.ok);
    assert.deepEqual(offered, ['0304', '0303', '0304', '0303']);
  });

  it('fetching a foreign bundle uses no proxy of the environment', async (t) => {
    const proxy = await startConnectProxy(1);
    const names = ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'NO_PROXY', 'no_proxy'];
    const before = names.map((name) => [name, process.env[name]] as const);
    t.after(() => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      return proxy.stop();
    });
    // A host that is never bypassed, so that a proxy would be asked.
    const { key, cert } = await webCredentials({ address: 'partner.example' });
    const { port } = new URL(await answering({ key, cert }, good));
    for (const name of names)
      process.env[name] = name.toLowerCase() === 'no_proxy' ? '' : `http://${proxy.address}`;
    const addresses = createAddressRule([{ address: '127.0.0.0', prefix: 8 }], async () => [
      { address: '127.0.0.1', family: 4 },
    ]);
    const fetched = await overWeb(`https://partner.example:${port}/`, { rootsPem: cert, addresses });
    assert.ok(fetched.ok, fetched.ok ? '' : fetched.reason);
    assert.deepEqual(proxy.asked, []);
  });

  it('fetching a foreign bundle ends after 30 s, also while a server sends a byte now and then', async (t) => {
    const realTimeout = AbortSignal.timeout;
    const limits: number[] = [];
    t.mock.method(AbortSignal, 'timeout', (ms: number) => {
      limits.push(ms);
      return realTimeout.call(AbortSignal, ms / 100);
    });
    const drip = async function* () {
      for (;;) {
        yield ' ';
        await pause(20);
      }
    };
    const startedAt = performance.now();
    refused(await overWeb(await answering(web, { '/': { body: drip } })), /did not answer in time/);
    assert.deepEqual(limits, [30_000]);
    assert.ok(performance.now() - startedAt >= 300);
  });

  it('fetching a foreign bundle follows redirects within the origin, only over https_web', async () => {
    const answers = { '/': { status: 302, headers: { location: '/b' } }, '/b': { body: '{}' } };
    const fetched = await overWeb(await answering(web, answers));
    assert.ok(fetched.ok);
    refused(await overSpiffe(await answering(await svid(partner), answers)), /redirects, and 0 redirects/);
  });

  describe('servers that are refused', () => {
    it('a server is refused if no root of the system has signed its certificate', async () => {
      const url = new URL(await answering(web, good));
      const origin = { kind: 'https_web', url, rootsPem: undefined } as const;
      refused(await fetchBundle(origin, { ...common, anchors: [] }), /self-signed certificate/);
      const prepared = { ...common, anchors: [], secureContext: webContext(undefined) };
      refused(await fetchBundle(origin, prepared), /self-signed certificate/);
      // The context that is given is the one that counts.
      const others = { ...prepared, secureContext: createSecureContext({ ca: web.cert }) };
      assert.ok((await fetchBundle(origin, others)).ok);
    });
    it('a server is refused with a certificate for another name', async () => {
      const other = await webCredentials({ address: '192.0.2.1' });
      refused(await overWeb(await answering(other, good), { rootsPem: other.cert }), /does not match/);
    });
    it('a server is refused with an expired web certificate', async () => {
      const old = await webCredentials({ lifetimeSeconds: -10 });
      refused(await overWeb(await answering(old, good), { rootsPem: old.cert }), /certificate has expired/);
    });
    it('a server is refused with an SVID of another workload', async () => {
      const url = await answering(await svid(partner, 'other'), good);
      refused(await overSpiffe(url), /it is spiffe:\/\/partner\.example\/other, not/);
    });
    it('a server is refused with an SVID of another trust domain, such as our own, with any path', async () => {
      const own = await poolOf('example.org');
      const url = await answering(await svid(own), good);
      refused(await overSpiffe(url), /unable to (verify|get)|self-signed/);
      // Also if its root were among those of the partner.
      refused(
        await overSpiffe(url, [...partner.roots, ...own.roots]),
        /it is spiffe:\/\/example\.org\/endpoint, not/,
      );
    });
    it('a server is refused with an expired SVID', async () => {
      const url = await answering(await svid(partner, 'endpoint', -10), good);
      refused(await overSpiffe(url), /certificate has expired/);
    });
    it('a server is refused with a web certificate instead of an SVID', async () => {
      refused(await overSpiffe(await answering(web, good)), /self-signed|unable to/);
    });
    it('a server is refused with an SVID instead of a web certificate', async () => {
      const rootsPem = partner.roots.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
      const url = await answering(await svid(partner), good);
      refused(await overWeb(url, { rootsPem }), /does not match/);
    });
    it('a server that requires a client certificate is refused', async () => {
      const server = createHttpsServer({ ...web, requestCert: true, rejectUnauthorized: true });
      refused(
        await overWeb(`https://127.0.0.1:${await listening(server)}/`),
        /certificate required|alert|ECONNRESET/i,
      );
    });
    it('a server without TLS is refused', async () => {
      const server = createHttpServer((_, response) => void response.end('{}'));
      refused(await overWeb(`https://127.0.0.1:${await listening(server)}/`), /SSL|wrong version|EPROTO/i);
    });
    it('a server that closes the connection at once is refused', async () => {
      const server = createTcpServer((socket) => void socket.destroy());
      refused(await overWeb(`https://127.0.0.1:${await listening(server)}/`), /ECONNRESET|disconnected/);
    });
    it('a server that does not exist is refused', async () => {
      const server = createTcpServer();
      const port = await listening(server);
      await new Promise((resolve) => server.close(resolve));
      refused(await overWeb(`https://127.0.0.1:${port}/`), /ECONNREFUSED/);
    });
    it('a server whose name has no address is refused', async () => {
      const dns = await startDnsServer(() => 'fails');
      closes.push(dns.close);
      const addresses = createAddressRule([], (name) => addressesOf(name, dns.resolver()));
      refused(await overWeb('https://nowhere.example/', { addresses }), /ESERVFAIL nowhere\.example/);
    });
    it('a server with no newer TLS than 1.1 is refused, although it would answer', async () => {
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
      const port = await listening(
        createHttpsServer({ ...web, ...old }, (_, response) => void response.end()),
      );
      refused(await overWeb(`https://127.0.0.1:${port}/`), /protocol version|unsupported protocol/i);
      const client = connect({ port, host: '127.0.0.1', ca: web.cert, ...old });
      await once(client, 'secureConnect');
      assert.equal(client.getProtocol(), 'TLSv1.1');
      client.destroy();
    });
    it('a server at an address of the machine itself is refused, also by its name', async () => {
      const addresses = createAddressRule([]);
      const { port } = new URL(await answering(web, good));
      for (const host of ['127.0.0.1', '[::1]', 'localhost']) {
        refused(
          await overWeb(`https://${host}:${port}/`, { addresses }),
          /the address .* is one of the machine itself/,
        );
      }
    });
  });

  describe('answers that are refused', () => {
    const answers: [what: string, answer: Answers[string], reason: RegExp][] = [
      [
        '302 to another host',
        { status: 302, headers: { location: 'https://127.0.0.2/' } },
        /only redirects within one origin/,
      ],
      [
        '302 to another port',
        { status: 302, headers: { location: 'https://127.0.0.1:1/' } },
        /only redirects within one origin/,
      ],
      [
        '307 to http',
        { status: 307, headers: { location: 'http://127.0.0.1/' } },
        /only redirects within one origin/,
      ],
      [
        '301 to a file',
        { status: 301, headers: { location: 'file:///etc/passwd' } },
        /only redirects within one origin/,
      ],
      [
        '302 to itself',
        { status: 302, headers: { location: '/' } },
        /redirects, and 3 redirects are followed/,
      ],
      [
        '302 to a text that is not a URL',
        { status: 302, headers: { location: 'https://' } },
        /redirects to a location that is not a URL/,
      ],
      ['302 without a location', { status: 302 }, /answered with status 302/],
      ['304 to a request without an ETag', { status: 304 }, /answered with status 304/],
      ['204', { status: 204 }, /answered with status 204/],
      ['401', { status: 401, headers: { 'www-authenticate': 'Basic' } }, /answered with status 401/],
      [
        '429 with a Retry-After of a year',
        { status: 429, headers: { 'retry-after': '31536000' } },
        /answered with status 429/,
      ],
      ['500 with a bundle in it', { status: 500, body: '{"keys":[]}' }, /answered with status 500/],
      ['1 MiB and a byte', { body: ' '.repeat(1024 * 1024 + 1) }, /longer than 1048576 bytes/],
      [
        'fewer bytes than its Content-Length',
        { body: '{}', headers: { 'content-length': '1000' } },
        /aborted|ECONNRESET|socket hang up/,
      ],
    ];
    for (const [what, answer, reason] of answers) {
      it(`an answer of the server is refused: ${what}`, async () =>
        refused(await overWeb(await answering(web, { '/': answer })), reason));
    }

    it('an answer of endless chunks is refused', async () => {
      const endless = async function* () {
        for (;;) yield ' '.repeat(16 * 1024);
      };
      refused(
        await overWeb(await answering(web, { '/': { body: endless } })),
        /the answer is longer than 1048576 bytes/,
      );
    });
    it('a compressed answer is not unpacked, so that it cannot grow', async () => {
      const body = gzipSync(' '.repeat(64 * 1024 * 1024));
      const fetched = await overWeb(
        await answering(web, { '/': { body, headers: { 'content-encoding': 'gzip' } } }),
      );
      assert.ok(fetched.ok);
      assert.equal(fetched.value.document?.length, body.length);
    });
  });
});
