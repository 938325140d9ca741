import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import {
  ApiConnectionError,
  ApiStatusError,
  isNotFoundOfObject,
  isPlain404,
} from '../../signer/kube/api-error.ts';
import { realTime } from '../../signer/kube/time.ts';
import {
  type Call,
  createTransport,
  type Transport,
  type TransportNeeds,
} from '../../signer/kube/transport.ts';
import { createTestAuthority } from '../cluster/certificates.ts';
import { waitFor } from '../cluster/process.ts';
import { timeWith } from './fake-time.ts';
import { answer, startTunnel, startWireServer, status, type WireServer } from './h2-server.ts';

let server: WireServer;
const open: Transport[] = [];

before(async () => {
  server = await startWireServer();
});
afterEach(async () => {
  for (const transport of open.splice(0)) await transport.close();
  server.handle = (_request, response) => answer(response, 200, {});
  server.calls.length = 0;
});
after(() => server.stop());

function transportTo(needs: Partial<TransportNeeds> = {}): Transport {
  // Jitter 0 halves every back-off: quick, and still a back-off.
  const transport = createTransport({
    credentials: server.credentials(),
    ...needs,
    time: timeWith({ jitter: () => 0, ...needs.time }),
  });
  open.push(transport);
  return transport;
}

async function failure(promise: Promise<unknown>): Promise<ApiStatusError | ApiConnectionError> {
  const error = await promise.then(
    () => assert.fail('it should have failed'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ApiStatusError || error instanceof ApiConnectionError, String(error));
  return error;
}

describe('calls', () => {
  test('many calls at once share one connection', async () => {
    const taken = server.connections();
    let concurrent = 0;
    let most = 0;
    server.handle = (_request, response) => {
      concurrent += 1;
      most = Math.max(most, concurrent);
      setTimeout(() => {
        concurrent -= 1;
        answer(response, 200, {});
      }, 5);
    };
    const transport = transportTo();
    await transport.request({ method: 'GET', path: '/first' });
    await Promise.all(
      Array.from({ length: 300 }, (_, number) =>
        transport.request({ method: 'PATCH', path: `/${number}`, body: {} }),
      ),
    );
    assert.equal(server.connections() - taken, 1);
    assert.ok(most > 50, `${most} at once`);
    assert.ok(most <= 100, `${most} at once, but the server allows 100`);
  });

  test('a call sends method, path and body, and returns status and body', async () => {
    server.handle = (request, response, body) => {
      const { authorization, accept } = request.headers;
      answer(response, 201, {
        body,
        authorization,
        accept,
        type: request.headers['content-type'],
        url: request.url,
      });
    };
    const transport = transportTo({ credentials: server.credentials(() => 'abc') });
    const { status: code, body } = await transport.request({
      method: 'PATCH',
      path: '/apis/x',
      query: { a: 'b c&d', left: undefined, fieldSelector: 'spec.signerName=kubespiffe.io/spiffe' },
      body: { uid: 1 },
    });
    assert.equal(code, 201);
    assert.deepEqual(body, {
      body: '{"uid":1}',
      authorization: 'Bearer abc',
      accept: 'application/json',
      type: 'application/merge-patch+json',
      url: '/apis/x?a=b%20c%26d&fieldSelector=spec.signerName%3Dkubespiffe.io%2Fspiffe',
    });
  });

  test('a path in the server URL is kept', async () => {
    const credentials = { ...server.credentials(), server: new URL('/clusters/one/', server.url) };
    await transportTo({ credentials }).request({ method: 'GET', path: '/api' });
    assert.deepEqual(server.calls, ['GET /clusters/one/api']);
  });

  test('calls report every answer to the metrics, and only those of the API server to the clock', async () => {
    const calls: Call[] = [];
    const dates: number[] = [];
    server.handle = (_request, response) =>
      answer(response, 404, status(404, 'NotFound'), { date: 'Sun, 22 Nov 2026 12:00:05 GMT' });
    const transport = transportTo({ onCall: (call) => calls.push(call) });
    transport.onDate((epochMs, roundTripMs) => {
      assert.ok(roundTripMs >= 0 && roundTripMs < 5000);
      dates.push(epochMs);
    });
    await failure(transport.request({ method: 'GET', path: '/x', resource: 'pods' }));
    assert.deepEqual(
      calls.map(({ seconds: _seconds, ...rest }) => rest),
      [{ verb: 'GET', resource: 'pods', code: '404' }],
    );
    assert.deepEqual(dates, [Date.parse('2026-11-22T12:00:05Z')]);
  });

  const answers: [what: string, isServers: boolean, body: unknown, type: string, code: number][] = [
    ['a list', true, { items: [] }, 'application/json', 200],
    ['a Status', true, status(503, 'ServiceUnavailable'), 'application/json', 503],
    ['a key set', true, { keys: [] }, 'application/jwk-set+json', 200],
    ['the error page of a proxy', false, '<html>Bad Gateway</html>', 'text/html', 502],
    ['a page of a proxy that looks like success', false, '<html>It works!</html>', 'text/html', 200],
    ['the JSON error of a proxy', false, { message: 'no healthy upstream' }, 'application/json', 503],
    ['a redirect', false, { location: '/login' }, 'application/json', 302],
    ['a redirect with a Status', false, status(302, 'Found'), 'application/json', 302],
  ];
  for (const [what, isServers, body, type, code] of answers) {
    test(`the clock ${isServers ? 'takes' : 'does not take'} the Date of ${what} (${code})`, async () => {
      server.handle = (_request, response) => answer(response, code, body, { 'content-type': type });
      const transport = transportTo();
      let dates = 0;
      transport.onDate(() => {
        dates += 1;
      });
      await transport.request({ method: 'GET', path: '/x', retry: 'none' }).catch(() => undefined);
      assert.equal(dates, isServers ? 1 : 0);
    });
  }

  test('an answer that is not JSON, or a timeout, is an error that quotes nothing', async () => {
    server.handle = (_request, response) => answer(response, 200, 'top secret garbage');
    const malformed = await failure(transportTo().request({ method: 'GET', path: '/x', retry: 'none' }));
    assert.equal((malformed as ApiConnectionError).failure, 'malformed');
    assert.doesNotMatch(JSON.stringify([malformed.message, malformed.cause]), /secret/);

    server.handle = () => undefined;
    const late = await failure(transportTo().request({ method: 'GET', path: '/x', timeoutMs: 50 }));
    assert.equal((late as ApiConnectionError).failure, 'timeout');
  });

  test('an answer that is too long is refused, and the next call works', async () => {
    server.handle = (request, response) =>
      answer(response, 200, { text: 'x'.repeat(request.url === '/long' ? 2000 : 9) });
    const transport = transportTo({ maxAnswerBytes: 1000 });
    const long = await failure(transport.request({ method: 'GET', path: '/long' }));
    assert.equal((long as ApiConnectionError).failure, 'too-large');
    assert.equal((await transport.request({ method: 'GET', path: '/short' })).status, 200);
  });

  test('a discarded body is not read, but that of an error is', async () => {
    server.handle = (request, response) =>
      request.url === '/good'
        ? answer(response, 200, 'not even JSON')
        : answer(response, 409, status(409, 'Conflict'));
    const transport = transportTo();
    const good = await transport.request({ method: 'PATCH', path: '/good', body: {}, discardBody: true });
    assert.equal(good.body, undefined);
    const bad = await failure(
      transport.request({ method: 'PATCH', path: '/bad', body: {}, discardBody: true }),
    );
    assert.equal((bad as ApiStatusError).reason, 'Conflict');
  });

  test('a call ends at once when the caller aborts, also while it waits for a connection', async () => {
    server.handle = () => undefined;
    const transport = transportTo();
    for (const path of ['/while-connecting', '/while-waiting']) {
      const stop = new AbortController();
      const call = failure(transport.request({ method: 'GET', path, signal: stop.signal }));
      if (path === '/while-waiting') await waitFor('the call', () => server.calls.includes(`GET ${path}`));
      stop.abort();
      assert.equal(((await call) as ApiConnectionError).failure, 'aborted');
    }
    const gone = await failure(
      transport.request({ method: 'GET', path: '/never', signal: AbortSignal.abort() }),
    );
    assert.equal((gone as ApiConnectionError).failure, 'aborted');
    assert.ok(!server.calls.includes('GET /never'));
  });

  test('a thousand calls on one signal cause no warning', async (t) => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    t.after(() => process.off('warning', listen));
    const transport = transportTo();
    const { signal } = new AbortController();
    await Promise.all(
      Array.from({ length: 1000 }, () => transport.request({ method: 'GET', path: '/x', signal })),
    );
    assert.deepEqual(warnings, []);
  });
});

describe('error answers', () => {
  test('an error answer shows if an object is missing, or its resource is not served', async () => {
    server.handle = (request, response) => {
      if (request.url === '/object')
        answer(response, 404, status(404, 'NotFound', { name: 'web-0', kind: 'pods' }));
      else answer(response, 404, '404 page not found', { 'content-type': 'text/plain' });
    };
    const transport = transportTo();
    const object = await failure(transport.request({ method: 'GET', path: '/object' }));
    assert.ok(isNotFoundOfObject(object) && !isPlain404(object));
    const plain = await failure(transport.request({ method: 'GET', path: '/resource' }));
    assert.ok(!isNotFoundOfObject(plain) && isPlain404(plain));
    assert.match(String(object), /404 to GET \/object: NotFound it is/);
  });

  test('an error answer carries the wait that the server asked for', async () => {
    server.handle = (_request, response) =>
      answer(response, 429, status(429, 'TooManyRequests'), { 'retry-after': '7' });
    const error = await failure(transportTo().request({ method: 'GET', path: '/x', retry: 'none' }));
    assert.equal((error as ApiStatusError).retryAfterMs, 7000);
  });

  for (const [seconds, expected] of [
    [7, 7000],
    [0, undefined],
    [-5, undefined],
    ['9', undefined],
    [null, undefined],
    [2_000_000, 300_000],
    [3_000_000, 300_000],
    [1e300, 300_000],
  ] as const) {
    test(`retryAfterSeconds ${seconds} of a Status is a wait of ${expected} ms`, async () => {
      const said = status(429, 'TooManyRequests', { retryAfterSeconds: seconds });
      server.handle = (_request, response) => answer(response, 429, said);
      const transport = transportTo();
      const call = await failure(transport.request({ method: 'GET', path: '/x', retry: 'none' }));
      assert.equal((call as ApiStatusError).retryAfterMs, expected);
      const { signal } = new AbortController();
      const watch = await failure(transport.watch({ path: '/w', query: {}, signal }));
      assert.equal((watch as ApiStatusError).retryAfterMs, expected);
    });
  }

  for (const code of [301, 302, 304, 307]) {
    test(`an answer ${code} is not a success, is not followed, and is not sent again`, async () => {
      server.handle = (_request, response) => answer(response, code, '', { location: '/elsewhere' });
      const transport = transportTo();
      for (const method of ['GET', 'PATCH'] as const) {
        const error = await failure(transport.request({ method, path: '/x', discardBody: true }));
        assert.equal((error as ApiStatusError).status, code);
        assert.match(
          String(error),
          new RegExp(`answered ${code} \\(redirects are not followed\\) to ${method}`),
        );
      }
      assert.deepEqual(server.calls, ['GET /x', 'PATCH /x']);
    });
  }
});

describe('retries', () => {
  const cases: [method: 'GET' | 'PATCH', code: number, headers: Record<string, string>, retried: boolean][] =
    [
      ['GET', 500, {}, true],
      ['GET', 503, {}, true],
      ['GET', 504, {}, true],
      ['GET', 429, {}, true],
      ['GET', 403, {}, false],
      ['GET', 409, {}, false],
      ['PATCH', 429, {}, true],
      ['PATCH', 503, { 'retry-after': '0' }, true],
      ['PATCH', 503, {}, false],
      ['PATCH', 500, {}, false],
      ['PATCH', 409, {}, false],
      ['PATCH', 422, {}, false],
    ];
  for (const [method, code, headers, retried] of cases) {
    const after = Object.keys(headers).length > 0 ? ' with Retry-After' : '';
    test(`${method} is ${retried ? 'sent again' : 'not sent again'} after ${code}${after}`, async () => {
      let asked = 0;
      server.handle = (_request, response) => {
        asked += 1;
        if (asked === 1) answer(response, code, status(code, 'Trouble'), headers);
        else answer(response, 200, { asked });
      };
      const call = transportTo().request({ method, path: '/x' });
      if (retried) assert.deepEqual((await call).body, { asked: 2 });
      else assert.equal(((await failure(call)) as ApiStatusError).status, code);
    });
  }

  test('retries end at the timeout, and never happen when not allowed', async () => {
    server.handle = (_request, response) => answer(response, 500, status(500, 'Trouble'));
    await failure(transportTo().request({ method: 'GET', path: '/x' }));
    assert.equal(server.calls.length, 4);
    server.calls.length = 0;
    await failure(transportTo().request({ method: 'GET', path: '/x', retry: 'none' }));
    assert.equal(server.calls.length, 1);
  });

  test('retries do not begin when the server asks for a longer wait than the timeout', async () => {
    server.handle = (_request, response) => answer(response, 429, '', { 'retry-after': '60' });
    const startedAt = performance.now();
    await failure(transportTo().request({ method: 'GET', path: '/x' }));
    assert.ok(performance.now() - startedAt < 5000);
    assert.equal(server.calls.length, 1);
  });

  test('a PATCH that was cut in the middle is not sent again, a GET is', async () => {
    for (const [method, expected] of [
      ['PATCH', 1],
      ['GET', 2],
    ] as const) {
      server.calls.length = 0;
      server.handle = (_request, response) => {
        if (server.calls.length === 1) for (const session of server.sessions) session.destroy();
        else answer(response, 200, {});
      };
      const call = transportTo().request({ method, path: '/x', ...(method === 'PATCH' && { body: {} }) });
      if (method === 'PATCH') assert.equal(((await failure(call)) as ApiConnectionError).failure, 'broken');
      else await call;
      assert.equal(server.calls.length, expected);
    }
  });
});

describe('credentials', () => {
  test('credentials are read again once after a 401', async () => {
    let token = 'old';
    const credentials = server.credentials(() => token);
    server.handle = (request, response) =>
      request.headers.authorization === 'Bearer new'
        ? answer(response, 200, { ok: true })
        : answer(response, 401, status(401, 'Unauthorized'));
    const transport = transportTo({
      credentials: {
        ...credentials,
        invalidate: () => {
          credentials.invalidate();
          token = 'new';
        },
      },
    });
    const { body } = await transport.request({ method: 'PATCH', path: '/x', body: {}, retry: 'none' });
    assert.deepEqual(body, { ok: true });
    assert.equal(credentials.invalidated(), 1);
  });

  test('a token that stays refused is read twice and no more', async () => {
    const credentials = server.credentials(() => 'bad');
    server.handle = (_request, response) => answer(response, 401, status(401, 'Unauthorized'));
    const error = await failure(transportTo({ credentials }).request({ method: 'GET', path: '/x' }));
    assert.equal((error as ApiStatusError).status, 401);
    assert.equal(server.calls.length, 2);
    assert.doesNotMatch(error.message, /bad/);
  });
});

describe('connections', () => {
  test('after GOAWAY running requests finish, and the others use a new connection', async () => {
    const taken = server.connections();
    const transport = transportTo();
    let held: (() => void) | undefined;
    server.handle = (request, response) => {
      if (request.url !== '/held') return answer(response, 200, {});
      held = () => answer(response, 200, { finished: true });
      request.stream.session?.goaway(0);
      return undefined;
    };
    const first = transport.request<{ finished: boolean }>({ method: 'PATCH', path: '/held', body: {} });
    await waitFor('the held call', () => held !== undefined);
    await transport.request({ method: 'PATCH', path: '/next', body: {} });
    held?.();
    assert.deepEqual((await first).body, { finished: true });
    assert.equal(server.connections() - taken, 2);
    assert.equal(server.calls.filter((call) => call.endsWith('/held')).length, 1);
  });

  test('a server that is down is an error at once', async () => {
    const own = await startWireServer();
    const transport = transportTo({ credentials: own.credentials() });
    await transport.request({ method: 'GET', path: '/x' });
    await own.stop();
    const down = await failure(transport.request({ method: 'PATCH', path: '/x', body: {}, retry: 'none' }));
    assert.match((down as ApiConnectionError).failure, /connect|broken/);
    const refused = await failure(
      transport.request({ method: 'PATCH', path: '/x', body: {}, retry: 'none' }),
    );
    assert.equal((refused as ApiConnectionError).failure, 'connect');
    assert.match(refused.message, /ECONNREFUSED/);
  });

  test('a call that found no connection was never sent, so that any method is tried again', async () => {
    const own = await startWireServer();
    await own.stop();
    const calls: Call[] = [];
    const transport = transportTo({ credentials: own.credentials(), onCall: (call) => calls.push(call) });
    const error = await failure(transport.request({ method: 'PATCH', path: '/x', body: {} }));
    assert.equal((error as ApiConnectionError).failure, 'connect');
    assert.equal(calls.length, 4);
  });

  test('a server with an unexpected certificate is refused', async (t) => {
    const own = await startWireServer();
    t.after(() => own.stop());
    const transport = transportTo({ credentials: { ...own.credentials(), tls: server.credentials().tls } });
    const error = await failure(transport.request({ method: 'GET', path: '/x', retry: 'none' }));
    assert.equal((error as ApiConnectionError).failure, 'connect');
    assert.equal(own.calls.length, 0);
  });

  test('after a client certificate rotates during the handshake, every request is sent with the new one', async (t) => {
    const authority = await createTestAuthority('clients');
    const [first, second] = await Promise.all(
      ['first', 'second'].map((commonName) => authority.issue({ commonName })),
    );
    let current = first;
    const own = await startWireServer({
      requestCert: true,
      onConnection: () => {
        current = second;
      },
    });
    t.after(() => own.stop());
    own.handle = (request, response) => {
      const { subject } = (request.socket as TLSSocket).getPeerX509Certificate() ?? {};
      answer(response, 200, { subject });
    };
    const credentials = own.credentials();
    const rotating = {
      ...credentials,
      get tls() {
        return { ...credentials.tls, cert: current?.certificate ?? '', key: current?.key ?? '' };
      },
    };
    const transport = transportTo({ credentials: rotating });
    const { body } = await transport.request<{ subject: string }>({ method: 'GET', path: '/x' });
    assert.equal(body.subject, 'CN=second');
  });

  test('a server without HTTP/2 is refused with what to do, and used once it has it', async (t) => {
    const poor = await startWireServer({ http1Only: true });
    t.after(() => poor.stop());
    const credentials = { ...server.credentials(), server: poor.url, tls: { ca: [poor.ca, server.ca] } };
    const transport = transportTo({ credentials });
    const asked = { path: '/x', query: {}, signal: new AbortController().signal };
    for (const call of [
      transport.request({ method: 'GET', path: '/x', retry: 'none' }),
      transport.watch(asked),
    ]) {
      const { message, failure: kind } = (await failure(call)) as ApiConnectionError;
      assert.match(
        message,
        /^GET \/x: localhost:\d+ does not speak HTTP\/2, .* remove --disable-http2-serving/,
      );
      assert.equal(kind, 'connect');
    }
    assert.deepEqual(poor.calls, []);
    credentials.server = server.url;
    assert.equal((await transport.request({ method: 'GET', path: '/x' })).status, 200);
  });

  test('a server without TLS is refused before anything is sent', () => {
    const credentials = { ...server.credentials(), server: new URL('http://127.0.0.1:8001') };
    assert.throws(() => transportTo({ credentials }), {
      code: 'CONFIG_INVALID',
      message: /^the API server is http:\/\/127\.0\.0\.1:8001, which has no TLS; use the https URL/,
    });
  });

  /** The connection's own clock runs fifty times as fast, so that its 12 s without a PING are short. */
  function impatientTransportTo(url: URL): Transport {
    const startedAt = performance.now();
    return transportTo({
      credentials: { ...server.credentials(), server: url },
      time: timeWith({
        monotonic: () => startedAt + (performance.now() - startedAt) * 50,
        timer: (run, ms) => realTime.timer(run, ms / 2),
      }),
    });
  }
  const isNoticed = async (call: Promise<unknown>) => {
    const broken = await failure(call);
    assert.equal((broken as ApiConnectionError).failure, 'broken');
    assert.match(broken.message, /PING/);
  };
  const goesOn = (transport: Transport) =>
    waitFor('a new connection', () =>
      transport.request({ method: 'GET', path: '/x', retry: 'none' }).then(
        () => true,
        () => false,
      ),
    );

  for (const [what, isRetired] of [
    ['the idle watch is cut and calls get a new connection', false],
    ['even on a connection that a GOAWAY has retired', true],
  ] as const) {
    test(`a peer that has vanished is detected by PINGs: ${what}`, async (t) => {
      const tunnel = await startTunnel(server.url);
      t.after(() => tunnel.stop());
      server.handle = (request, response) => {
        if (!request.url.includes('watch=true')) return answer(response, 200, {});
        response.writeHead(200);
        response.write('\n');
        if (isRetired) request.stream.session?.goaway(0);
        return undefined;
      };
      const transport = impatientTransportTo(tunnel.url);
      await transport.request({ method: 'GET', path: '/x' });
      const events = await transport.watch({ path: '/w', query: {}, signal: new AbortController().signal });
      const iteration = (async () => {
        for await (const _event of events) assert.fail('no event was sent');
      })();
      tunnel.swallow(true);
      await isNoticed(iteration);
      tunnel.swallow(false);
      await goesOn(transport);
    });
  }

  test('a peer that has vanished is given up although much is still to be sent', async (t) => {
    const tunnel = await startTunnel(server.url);
    t.after(() => tunnel.stop());
    const transport = impatientTransportTo(tunnel.url);
    await transport.request({ method: 'GET', path: '/x' });
    tunnel.stall();
    const calls = Array.from({ length: 40 }, (_, number) =>
      transport.request({
        method: 'PATCH',
        path: `/${number}`,
        body: 'x'.repeat(1024 * 1024),
        timeoutMs: 60_000,
      }),
    );
    await Promise.all(calls.map(isNoticed));
    await goesOn(transport);
  });
});

async function collect(events: AsyncIterable<unknown>): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

describe('watches', () => {
  const line = (resourceVersion: string) =>
    `${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'ü', resourceVersion } } })}\n`;

  test('a watch returns events as they arrive, cut anywhere', async () => {
    const text = Buffer.from(line('1') + line('2') + line('3'));
    server.handle = async (_request, response) => {
      response.writeHead(200);
      for (const byte of text) {
        response.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    };
    const events = await transportTo().watch({
      path: '/w',
      query: { x: 'y' },
      signal: new AbortController().signal,
    });
    const seen: unknown[] = [];
    for await (const { object } of events) {
      seen.push((object as { metadata: { resourceVersion: string } }).metadata.resourceVersion);
    }
    assert.deepEqual(seen, ['1', '2', '3']);
    assert.deepEqual(server.calls, ['GET /w?x=y&watch=true']);
  });

  test('an incomplete event is not returned, and the watch ends', async () => {
    server.handle = (_request, response) => {
      response.writeHead(200);
      response.end(line('1') + line('2').slice(0, 20));
    };
    const events = await transportTo().watch({ path: '/w', query: {}, signal: new AbortController().signal });
    assert.equal((await collect(events)).length, 1);
  });

  for (const [what, bad] of [
    ['a text that is not JSON', 'secret garbage\n'],
    ['an unknown type', '{"type":"SECRET","object":{}}\n'],
    ['an event without an object', '{"type":"ADDED"}\n'],
    ['null', 'null\n'],
    ['a line that is too long', 'x'.repeat(33 * 1024 * 1024)],
  ] as const) {
    test(`${what} in a watch is an error after the good events, and quotes nothing`, async () => {
      server.handle = (_request, response) => {
        response.writeHead(200);
        response.write(line('1') + bad);
      };
      const events = await transportTo().watch({
        path: '/w',
        query: {},
        signal: new AbortController().signal,
      });
      const seen: unknown[] = [];
      const error = await failure(
        (async () => {
          for await (const event of events) seen.push(event);
        })(),
      );
      assert.equal((error as ApiConnectionError).failure, 'malformed');
      assert.doesNotMatch(error.message, /secret/i);
      assert.equal(seen.length, 1);
    });
  }

  test('a watch ends at once when its signal is aborted, and its stream is cancelled at the server', async () => {
    let closed: Promise<unknown> | undefined;
    server.handle = (_request, response) => {
      closed = once(response, 'close');
      response.writeHead(200);
      response.write(line('1'));
    };
    const stop = new AbortController();
    const events = await transportTo().watch({ path: '/w', query: {}, signal: stop.signal });
    for await (const _event of events) stop.abort();
    await closed;
  });

  test('a broken connection is an error of the watch', async () => {
    server.handle = (request, response) => {
      response.writeHead(200);
      response.write(line('1'));
      setImmediate(() => request.stream.session?.destroy());
    };
    const events = await transportTo().watch({ path: '/w', query: {}, signal: new AbortController().signal });
    const error = await failure(collect(events));
    assert.equal((error as ApiConnectionError).failure, 'broken');
  });

  test('an error status of a watch is an error with its Status, and a 401 reads the credentials again', async () => {
    const credentials = server.credentials(() => 'x');
    server.handle = (_request, response) => {
      if (server.calls.length === 1) answer(response, 401, status(401, 'Unauthorized'));
      else answer(response, 410, status(410, 'Expired'));
    };
    const transport = transportTo({ credentials });
    const error = await failure(
      transport.watch({ path: '/w', query: {}, signal: new AbortController().signal }),
    );
    assert.equal((error as ApiStatusError).reason, 'Expired');
    assert.equal(credentials.invalidated(), 1);
  });

  test('a slow reader of a watch slows the server down and still gets everything', async () => {
    const count = 20_000;
    server.handle = (_request, response) => {
      response.writeHead(200);
      for (let number = 0; number < count; number += 1) response.write(line(String(number)));
      response.end();
    };
    const events = await transportTo().watch({ path: '/w', query: {}, signal: new AbortController().signal });
    let seen = 0;
    for await (const { object } of events) {
      assert.equal(
        (object as { metadata: { resourceVersion: string } }).metadata.resourceVersion,
        String(seen),
      );
      seen += 1;
      if (seen % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(seen, count);
  });
});
