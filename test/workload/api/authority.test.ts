import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { parseEndpointAddress } from '../../../client/endpoint-address.ts';
import { createRepair } from '../../../workload/api/authority.ts';
import { listen } from '../../../workload/api/listen.ts';
import { createWorkloadApi } from '../../../workload/api/server.ts';
import { waitFor } from '../../cluster/process.ts';
import { createWorkload, issueSvid, makeTrustDomain, stateOf } from './workload.ts';

const folder = mkdtempSync(join(tmpdir(), 'authority-'));
after(() => rmSync(folder, { recursive: true }));

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const types = { data: 0, headers: 1, settings: 4, windowUpdate: 8 };
const endHeaders = 0x04;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** A literal with incremental indexing (RFC 7541 6.2.1), as gRPC for Java encodes it: without the Huffman code. */
function field(name: number | string, value: string): Buffer {
  const text = (words: string) => Buffer.concat([Buffer.of(words.length), Buffer.from(words)]);
  const start = typeof name === 'number' ? [Buffer.of(0x40 | name)] : [Buffer.of(0x40), text(name)];
  return Buffer.concat([...start, text(value)]);
}

/** What a client of gRPC sends to call a method, in the order of gRPC for Java. */
const request = (authority: string, before: readonly Buffer[] = []) =>
  Buffer.concat([
    ...before,
    field(1, authority),
    field(4, '/SpiffeWorkloadAPI/FetchX509SVID'),
    Buffer.of(0x83, 0x86),
    field(31, 'application/grpc'),
    field('te', 'trailers'),
    field('workload.spiffe.io', 'true'),
  ]);

const path = '/run/workload-api/socket';
const harmless = '-run-workload-api-socket';
const connection = (headers: Buffer, flags = endHeaders) =>
  Buffer.concat([
    preface,
    frame(types.settings, 0, 0, Buffer.alloc(0)),
    frame(types.headers, flags, 1, headers),
    frame(types.data, 0x01, 1, Buffer.alloc(5)),
    frame(types.data, 0, 3, Buffer.from(`not a header: ${path}`)),
  ]);

describe('the :authority of requests over a Unix socket', () => {
  it('the :authority of a request over a Unix socket may be the path of the socket, as gRPC for Java sends it', async (t) => {
    const home = await makeTrustDomain('example.org');
    const { source } = createWorkload(home, stateOf([await issueSvid(home, '/ns/shop/sa/web')], [home]));
    const socketPath = join(folder, 'api.sock');
    const address = parseEndpointAddress(`unix://${socketPath}`);
    assert.ok(address.ok);
    const stopping = new AbortController();
    await listen(createWorkloadApi({ source }), address.value, stopping.signal);
    const socket = connect(socketPath);
    t.after(() => {
      socket.destroy();
      stopping.abort();
    });
    await once(socket, 'connect');
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    socket.write(preface);
    socket.write(frame(types.settings, 0, 0, Buffer.alloc(0)));
    socket.write(frame(types.headers, endHeaders, 1, request(socketPath)));
    socket.write(frame(types.data, 0x01, 1, Buffer.alloc(5)));
    await waitFor('the SVID', () => received.includes('spiffe://example.org/ns/shop/sa/web'), {
      timeoutMs: 5_000,
    });
  });

  const priority = Buffer.from([0, 0, 0, 0, 16]);
  const cases: [string, Buffer, Buffer][] = [
    ['first', request(path), request(harmless)],
    ['behind other fields', request(path, [field('x', 'y')]), request(harmless, [field('x', 'y')])],
    ['behind a change of the table', request(path, [Buffer.of(0x20)]), request(harmless, [Buffer.of(0x20)])],
    ['a name', request('localhost'), request('localhost')],
    ['a long one', request(`/${'a/'.repeat(60)}`), request(`-${'a-'.repeat(60)}`)],
    [
      'not indexed',
      Buffer.concat([Buffer.of(0x11), field(1, path).subarray(1)]),
      Buffer.concat([Buffer.of(0x11), field(1, harmless).subarray(1)]),
    ],
  ];
  for (const [where, before, expected] of cases) {
    it(`the :authority gets hyphens in place of slashes, and nothing else changes: ${where}`, () => {
      assert.deepEqual(createRepair()(connection(before)), connection(expected));
    });
  }

  it('the :authority is found behind padding and priority', () => {
    const padded = (headers: Buffer) => Buffer.concat([Buffer.of(3), priority, headers, Buffer.alloc(3)]);
    const flags = endHeaders | 0x08 | 0x20;
    assert.deepEqual(
      createRepair()(connection(padded(request(path)), flags)),
      connection(padded(request(harmless)), flags),
    );
  });

  it('the repaired request is the same for every way of cutting its bytes', () => {
    const whole = connection(request(path));
    const cuts = fc.array(fc.integer({ min: 0, max: whole.length }), { maxLength: 20 });
    fc.assert(
      fc.property(cuts, (at) => {
        const ends = [...at.toSorted((a, b) => a - b), whole.length];
        const repair = createRepair();
        const parts = ends.map((end, index) =>
          repair(Buffer.from(whole.subarray(ends[index - 1] ?? 0, end))),
        );
        assert.deepEqual(Buffer.concat(parts), connection(request(harmless)));
      }),
    );
  });

  it('the repair of any bytes passes on as many, and holds back no more than a frame', () => {
    const bytes = fc.uint8Array({ maxLength: 2_000 });
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 20 }), (chunks) => {
        const repair = createRepair();
        const passed = chunks.reduce((sum, chunk) => sum + repair(Buffer.from(chunk)).length, 0);
        const given = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        assert.ok(passed <= given && given - passed <= 9 + 16_384);
      }),
    );
  });
});
