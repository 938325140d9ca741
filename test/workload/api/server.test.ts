import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { parseEndpointAddress } from '../../../client/endpoint-address.ts';
import { KubespiffeError } from '../../../spiffe/errors.ts';
import { listen } from '../../../workload/api/listen.ts';
import { createWorkloadApi } from '../../../workload/api/server.ts';
import type { ApiX509Svid } from '../../../workload/api/state.ts';
import { waitFor } from '../../cluster/process.ts';
import { type Judges, openJudges } from '../../judges/judges.ts';
import { ApiClient, ask, header, type Method, type Served, serve } from './client.ts';
import {
  createWorkload,
  issueSvid,
  jwtSvid,
  makeTrustDomain,
  stateOf,
  type TestTrustDomain,
} from './workload.ts';

let folder: string;
let judges: Judges;
let home: TestTrustDomain;
let partner: TestTrustDomain;
let svid: ApiX509Svid;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'workload-api-'));
  judges = await openJudges();
  home = await makeTrustDomain('example.org');
  partner = await makeTrustDomain('partner.example');
  svid = await issueSvid(home, '/ns/shop/sa/web', 'internal');
});
after(() => rm(folder, { recursive: true }));

/** Serves a workload on a socket of its own while the test runs. */
async function serving(
  workload: ReturnType<typeof createWorkload>,
  act: (served: Served) => Promise<void>,
  more: { maxStreams?: number } = {},
): Promise<void> {
  await using served = await serve({ source: workload.source, ...more });
  await act(served);
}

describe('the Workload API', () => {
  it('the Workload API gives go-spiffe everything that a workload has', async () => {
    const workload = createWorkload(home, stateOf([svid], [home, partner]));
    await serving(workload, async ({ uri }) => {
      const verdict = await judges.workloadApi({ address: uri, audience: 'vault' });
      assert.deepEqual(verdict.errors, []);
      assert.match(
        verdict.facts.x509 ?? '',
        /^spiffe:\/\/example\.org\/ns\/shop\/sa\/web [0-9a-f]+ internal$/,
      );
      assert.deepEqual(verdict.facts['x509-bundles']?.split(' ').toSorted(), [
        'example.org',
        'partner.example',
      ]);
      assert.deepEqual(verdict.facts['fetched-bundles']?.split(' ').toSorted(), [
        'example.org',
        'partner.example',
      ]);
      assert.equal(verdict.facts.jwt, 'spiffe://example.org/ns/shop/sa/web internal');
      assert.equal(verdict.facts.validated, 'spiffe://example.org/ns/shop/sa/web');
    });
  });

  it('the Workload API pushes a new certificate to go-spiffe within a second', async () => {
    const workload = createWorkload(home, stateOf([svid], [home]));
    await serving(workload, async ({ uri }) => {
      const updates = judges.workloadApiUpdates({ address: uri, updates: 2 });
      await waitFor('the stream of go-spiffe', async () => workload.listening() === 1);
      const next = await issueSvid(home, '/ns/shop/sa/web');
      const changedAt = performance.now();
      workload.become(stateOf([next], [home]));
      const [first, second] = await updates;
      assert.ok(performance.now() - changedAt < 1_000);
      assert.ok(first?.ok && second?.ok);
      assert.notEqual(first.facts.x509, second.facts.x509);
    });
  });

  const methods: [Method, object][] = [
    ['FetchX509SVID', {}],
    ['FetchX509Bundles', {}],
    ['FetchJWTBundles', {}],
    ['FetchJWTSVID', { audience: ['vault'] }],
    ['ValidateJWTSVID', { audience: 'vault', svid: 'e30.e30.e30' }],
  ];
  for (const [method, request] of methods) {
    it(`${method} needs the header exactly once and in lower case`, async () => {
      const workload = createWorkload(home, stateOf([svid], [home]));
      const twice = header();
      twice.add('workload.spiffe.io', 'true');
      await serving(workload, async ({ client }) => {
        for (const metadata of [new Metadata(), header('TRUE'), header('false'), header(''), twice]) {
          const refused = await ask(client, method, request, metadata);
          assert.partialDeepStrictEqual(refused, { code: status.INVALID_ARGUMENT });
        }
      });
    });

    it(`${method} is unavailable until the credentials are read`, async () => {
      await serving(createWorkload(home), async ({ client }) => {
        assert.partialDeepStrictEqual(await ask(client, method, request), { code: status.UNAVAILABLE });
      });
    });
  }

  for (const [method, request] of methods.slice(0, 4)) {
    it(`${method} is denied to a workload without an identity`, async () => {
      await serving(createWorkload(home, stateOf([], [])), async ({ client }) => {
        assert.partialDeepStrictEqual(await ask(client, method, request), { code: status.PERMISSION_DENIED });
      });
    });
  }

  const bad: [string, Method, () => object, status, RegExp][] = [
    ['no audience', 'FetchJWTSVID', () => ({}), status.INVALID_ARGUMENT, /audience is empty/],
    [
      'an empty audience',
      'FetchJWTSVID',
      () => ({ audience: ['a', ''] }),
      status.INVALID_ARGUMENT,
      /audience is empty/,
    ],
    [
      'more audiences than are allowed',
      'FetchJWTSVID',
      () => ({ audience: Array.from({ length: 33 }, (_, index) => `a${index}`) }),
      status.INVALID_ARGUMENT,
      /at most 32/,
    ],
    [
      'a SPIFFE ID that is not valid',
      'FetchJWTSVID',
      () => ({ audience: ['a'], spiffe_id: 'web' }),
      status.INVALID_ARGUMENT,
      /spiffe_id is not a SPIFFE ID/,
    ],
    [
      'the SPIFFE ID of another workload',
      'FetchJWTSVID',
      () => ({ audience: ['a'], spiffe_id: 'spiffe://example.org/ns/shop/sa/db' }),
      status.PERMISSION_DENIED,
      /no identity with the requested spiffe_id/,
    ],
    [
      'a huge request',
      'FetchJWTSVID',
      () => ({ audience: ['a'.repeat(270_000)] }),
      status.RESOURCE_EXHAUSTED,
      /larger/,
    ],
    ['no audience', 'ValidateJWTSVID', () => ({ svid: 'x' }), status.INVALID_ARGUMENT, /audience is empty/],
    ['no token', 'ValidateJWTSVID', () => ({ audience: 'a' }), status.INVALID_ARGUMENT, /svid is empty/],
    [
      'what is not a token',
      'ValidateJWTSVID',
      () => ({ audience: 'a', svid: 'x' }),
      status.INVALID_ARGUMENT,
      /./,
    ],
    [
      'a token that is too long',
      'ValidateJWTSVID',
      () => ({ audience: 'a', svid: 'x'.repeat(17_000) }),
      status.INVALID_ARGUMENT,
      /more than 16384/,
    ],
    [
      'a token for another audience',
      'ValidateJWTSVID',
      () => ({ audience: 'b', svid: jwtSvid(home, { sub: svid.spiffeId, aud: ['a'] }) }),
      status.INVALID_ARGUMENT,
      /aud/,
    ],
    [
      'an expired token',
      'ValidateJWTSVID',
      () => ({ audience: 'a', svid: jwtSvid(home, { sub: svid.spiffeId, aud: ['a'], exp: 1_000_000_000 }) }),
      status.INVALID_ARGUMENT,
      /exp/,
    ],
    [
      'a token of a trust domain without a bundle',
      'ValidateJWTSVID',
      () => ({ audience: 'a', svid: jwtSvid(partner, { sub: 'spiffe://other.example/x', aud: ['a'] }) }),
      status.INVALID_ARGUMENT,
      /no bundle of the trust domain other\.example/,
    ],
    [
      'a name of one trust domain signed by another',
      'ValidateJWTSVID',
      () => ({ audience: 'a', svid: jwtSvid(partner, { sub: svid.spiffeId, aud: ['a'] }) }),
      status.INVALID_ARGUMENT,
      /kid/,
    ],
  ];
  for (const [name, method, request, code, details] of bad) {
    it(`${method} refuses ${name}`, async () => {
      await serving(createWorkload(home, stateOf([svid], [home, partner])), async ({ client }) => {
        const refused = await ask(client, method, request());
        assert.ok('code' in refused, JSON.stringify(refused));
        assert.equal(status[refused.code], status[code]);
        assert.match(refused.details, details);
      });
    });
  }

  it('ValidateJWTSVID accepts a token of a federated trust domain, and returns its claims', async () => {
    await serving(createWorkload(home, stateOf([svid], [home, partner])), async ({ client }) => {
      const claims = { list: ['a', 1, null], nested: { yes: true } };
      const token = jwtSvid(partner, { sub: 'spiffe://partner.example/db', aud: ['a'], ...claims });
      const validated = await ask(client, 'ValidateJWTSVID', { audience: 'a', svid: token });
      assert.partialDeepStrictEqual(validated, { answer: { spiffe_id: 'spiffe://partner.example/db' } });
      assert.match(JSON.stringify(validated), /"nested".*"yes".*true/);
    });
  });

  it('FetchJWTSVID gives one token for each identity, or one for the identity in the request', async () => {
    const other = await issueSvid(home, '/ns/shop/sa/admin', 'admin');
    await serving(createWorkload(home, stateOf([svid, other], [home])), async ({ client }) => {
      const idsFor = async (request: object) => {
        const said = await ask(client, 'FetchJWTSVID', { audience: ['a'], ...request });
        assert.ok('answer' in said);
        return (said.answer.svids as { spiffe_id: string }[]).map(({ spiffe_id }) => spiffe_id);
      };
      assert.deepEqual(await idsFor({}), [svid.spiffeId, other.spiffeId]);
      assert.deepEqual(await idsFor({ spiffe_id: other.spiffeId }), [other.spiffeId]);
    });
  });

  it('the Workload API ends the streams of a workload that loses its identity', async () => {
    const workload = createWorkload(home, stateOf([svid], [home]));
    await serving(workload, async ({ client }) => {
      const call = client.FetchX509SVID({}, header()) as unknown as NodeJS.ReadableStream;
      const refused = once(call, 'error') as Promise<[ServiceError]>;
      await once(call, 'data');
      workload.become(stateOf([], [home]));
      const [error] = await refused.catch((cause: ServiceError) => [cause]);
      assert.equal(error?.code, status.PERMISSION_DENIED);
      await waitFor('the end of the stream', async () => workload.listening() === 0);
    });
  });

  it('the Workload API keeps only the newest state for a client that does not read', async () => {
    const workload = createWorkload(home, stateOf([svid], [home]));
    await serving(workload, async ({ client }) => {
      const call = client.FetchX509SVID({}, header()) as unknown as NodeJS.ReadableStream;
      call.on('error', () => undefined).pause();
      await waitFor('the stream', async () => workload.listening() === 1);
      const before = process.memoryUsage().arrayBuffers;
      const big = { ...svid, chain: Array.from({ length: 100 }, () => svid.chain).flat() };
      let last = svid.spiffeId;
      for (let each = 0; each < 2_000; each += 1) {
        last = `spiffe://example.org/${each}`;
        workload.become(stateOf([{ ...big, spiffeId: last }], [home]));
      }
      assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024 * 1024);
      const { promise, resolve } = Promise.withResolvers<void>();
      call.on('data', (said: { svids: { spiffe_id: string }[] }) => {
        if (said.svids[0]?.spiffe_id === last) resolve();
      });
      call.resume();
      await promise;
    });
  });

  it('the Workload API limits open streams, and opens new ones after others end', async () => {
    const workload = createWorkload(home, stateOf([svid], [home]));
    await serving(
      workload,
      async ({ uri }) => {
        const open = () => {
          const client = new ApiClient(uri, credentials.createInsecure());
          const call = client.FetchX509SVID({}, header()) as unknown as NodeJS.ReadableStream & {
            cancel(): void;
          };
          call.on('error', () => undefined);
          return { call, client };
        };
        const two = [open(), open()];
        await Promise.all(two.map(({ call }) => once(call, 'data')));
        const third = new ApiClient(uri, credentials.createInsecure());
        assert.partialDeepStrictEqual(await ask(third, 'FetchX509SVID'), { code: status.RESOURCE_EXHAUSTED });
        for (const { call } of two) call.cancel();
        await waitFor('the end of the streams', async () => workload.listening() === 0);
        assert.ok('answer' in (await ask(third, 'FetchX509SVID')));
        for (const { client } of [...two, { client: third }]) client.close();
      },
      { maxStreams: 2 },
    );
  });
});

describe('the socket of the Workload API', () => {
  const listenAt = async (path: string, signal: AbortSignal) => {
    const address = parseEndpointAddress(`unix://${path}`);
    assert.ok(address.ok);
    const { source } = createWorkload(home, stateOf([svid], [home]));
    await listen(createWorkloadApi({ source }), address.value, signal);
  };
  const code = (expected: string) => (error: unknown) =>
    error instanceof KubespiffeError && error.code === expected;

  it('the socket of the Workload API may be used by every user of the pod', async () => {
    const stopping = new AbortController();
    const path = join(folder, 'mode.sock');
    await listenAt(path, stopping.signal);
    assert.equal((await stat(path)).mode & 0o777, 0o666);
    stopping.abort();
  });

  it('the socket of the Workload API replaces the one that a killed process left behind', async () => {
    const path = join(folder, 'stale.sock');
    const { promise, resolve } = Promise.withResolvers<void>();
    const { spawn } = await import('node:child_process');
    const dying = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    dying.on('exit', () => resolve());
    await promise;
    assert.ok((await stat(path)).isSocket());
    const stopping = new AbortController();
    await listenAt(path, stopping.signal);
    stopping.abort();
  });

  it('the socket of the Workload API is not taken away from a process that serves it', async () => {
    const path = join(folder, 'served.sock');
    const other = createServer().listen(path);
    await once(other, 'listening');
    await assert.rejects(listenAt(path, AbortSignal.timeout(1_000)), code('ALREADY_EXISTS'));
    assert.ok((await stat(path)).isSocket());
    other.close();
  });

  it('the socket of the Workload API does not replace a file that is not a socket', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'precious');
    await assert.rejects(listenAt(path, AbortSignal.timeout(1_000)), code('ALREADY_EXISTS'));
  });

  it('a socket of the Workload API that cannot be made is an error with the reason', async () => {
    await assert.rejects(
      listenAt(join(folder, 'no/such/folder.sock'), AbortSignal.timeout(1_000)),
      code('FILE_UNWRITABLE'),
    );
  });
});
