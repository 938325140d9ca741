import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Pool } from '../../signer/authority/pool.ts';
import { createRecent } from '../../signer/token/caller/recent.ts';
import { createReviewCache } from '../../signer/token/caller/review-cache.ts';
import { type Presented, presentedBy } from '../../signer/token/http/presented.ts';
import { createServed, select } from '../../signer/token/http/published.ts';
import { createLimiter } from '../../signer/token/limiter.ts';
import { describe as descriptionOf, refusals, refuse } from '../../signer/token/refusals.ts';
import { checkAudiences } from '../../signer/token/svid/audiences.ts';
import { readExchange, readShortForm } from '../../signer/token/svid/exchange.ts';

describe('audiences', () => {
  const forbidden = () => ['https://api.server', 'spiffe://td/own', 'api'];
  const open = { most: 2, allowed: undefined, forbidden };
  const listed = { ...open, allowed: ['vault', 'https://*'] };
  const rows: [wanted: string[], policy: typeof open | typeof listed, expected: string][] = [
    [['a'], open, 'ok'],
    [['a', 'b'], open, 'ok'],
    [[], open, 'AudienceMissing'],
    [['a', ''], open, 'AudienceMissing'],
    [['a', 'b', 'c'], open, 'AudienceTooMany'],
    [['a', 'a'], open, 'AudienceMalformed'],
    [['a b'], open, 'AudienceMalformed'],
    [['a\u0000'], open, 'AudienceMalformed'],
    [['\u00e4'], open, 'AudienceMalformed'],
    [['x'.repeat(1025)], open, 'AudienceMalformed'],
    [['x'.repeat(1024)], open, 'ok'],
    [['eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln'], open, 'AudienceMalformed'],
    [['eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn'], open, 'AudienceMalformed'],
    [['eyJ.example.com'], open, 'ok'],
    [['https://api.server'], open, 'AudienceForbidden'],
    [['a', 'https://api.server'], open, 'AudienceForbidden'],
    [['https://API.server//'], open, 'AudienceForbidden'],
    [['spiffe://td/own'], open, 'AudienceForbidden'],
    [['vault'], listed, 'ok'],
    [['vault2'], listed, 'AudienceNotAllowed'],
    [['https://x'], listed, 'ok'],
    [['http://x'], listed, 'AudienceNotAllowed'],
    [['https://x', 'y'], listed, 'AudienceNotAllowed'],
    [['https://api.server'], listed, 'AudienceForbidden'],
    ...[
      ...[
        'https://api.server:443',
        'https://api.server.',
        'https://api.server.:443/',
        'https://api%2Eserver',
      ],
      ...[
        'https://api%252eserver',
        'https://%61pi.server',
        'https://api.server%2f',
        'https://api.server?a=b',
      ],
      ...['https://api.server#a', 'https://api.server/./', 'https://api.server/a/..', 'https:api.server'],
      ...['https://a:b@api.server', 'https:\\\\api.server', 'spiffe://TD//own', 'spiffe://td:443/own'],
      ...['spiffe://td./own?a', 'spiffe://td/a/../own', 'API', 'api.', 'api:443', 'api/', 'api?a', 'api#'],
    ].map((audience): [string[], typeof open, string] => [[audience], open, 'AudienceForbidden']),
    ...[
      ...['https://api.server:8443', 'https://api.server/a', 'https://a.api.server', 'https://api.server.a'],
      ...['spiffe://td/own2', 'spiffe://td', 'api2', 'urn:api', 'https://[::1', '%', '/', ':'],
    ].map((audience): [string[], typeof open, string] => [[audience], open, 'ok']),
  ];
  for (const [wanted, policy, expected] of rows) {
    const limits = policy === listed ? ' of a list' : '';
    it(`${JSON.stringify(wanted).slice(0, 60)}${limits}: ${expected}`, () => {
      const outcome = checkAudiences(wanted, policy);
      assert.equal(outcome.ok ? 'ok' : outcome.code, expected);
    });
  }
});

describe('requests', () => {
  const bare = { authorization: undefined };
  const good =
    'grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t' +
    '&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=a';

  it('are read, with several audiences', () => {
    const value = { credential: { kind: 'token', token: 't' }, audiences: ['a', 'b'] };
    assert.deepEqual(readExchange(`${good}&audience=b`, bare), { ok: true, value });
    const authorization = 'bearer t';
    assert.deepEqual(readShortForm('{"audience":["a","b"]}', { authorization }), { ok: true, value });
  });

  it('bring one credential, and not two', () => {
    const peer = { certificate: Uint8Array.of(1) };
    const authorization = 'Bearer t';
    const short = (presented: Presented) => {
      const read = readShortForm('{"audience":"a"}', presented);
      return read.ok ? read.value.credential.kind : read.code;
    };
    const form = (presented: Presented) => {
      const read = readExchange(good, presented);
      return read.ok ? read.value.credential.kind : read.code;
    };
    const none = { certificate: undefined };
    assert.equal(short({ authorization }), 'token');
    assert.equal(short({ authorization, peer: none }), 'token');
    assert.equal(short({ ...bare, peer }), 'certificate');
    assert.equal(short({ authorization, peer }), 'CredentialsRepeated');
    assert.equal(short({ authorization: 'Basic eDp5', peer }), 'CredentialsRepeated');
    assert.equal(short({ authorization: '', peer }), 'CredentialsRepeated');
    assert.equal(short({ authorization: 'Basic eDp5', peer: none }), 'TokenMissing');
    assert.equal(short({ ...bare, peer: none }), 'CredentialMissing');
    assert.equal(short(bare), 'TokenMissing');
    assert.equal(form({ ...bare, peer: none }), 'token');
    assert.equal(form({ ...bare, peer }), 'CredentialsRepeated');
    assert.equal(form({ authorization, peer: none }), 'CredentialsRepeated');
  });

  it('have one Authorization header, whatever the parser would make of two', () => {
    const shown = (...rawHeaders: string[]) => {
      const read = presentedBy({ rawHeaders } as IncomingMessage, false);
      return read.ok ? read.value.authorization : read.code;
    };
    assert.equal(shown('Host', 'a'), undefined);
    assert.equal(shown('Host', 'Authorization', 'AUTHORIZATION', 'Bearer t'), 'Bearer t');
    assert.equal(shown('Authorization', 'Bearer t', 'authorization', 'Bearer t'), 'CredentialsRepeated');
  });

  it('never have a name in the answer that may be a secret', () => {
    for (const name of ['eyJhbGciOiJ9.e30.AA', 'x'.repeat(100), 'A b']) {
      const refused = readExchange(`${good}&${encodeURIComponent(name)}=1`, bare);
      assert.ok(!refused.ok);
      assert.ok(!descriptionOf(refused).includes(name));
    }
  });
});

describe('descriptions', () => {
  it('are in the characters of RFC 6749 5.2, whatever the detail', () => {
    for (const code of Object.keys(refusals) as (keyof typeof refusals)[]) {
      const text = descriptionOf(refuse(code, 'a "quote", a \\ and \u00e4\r\n\u0000 $& {}'));
      assert.match(text, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/, code);
    }
  });

  /** How a sentence begins that tells somebody to do something. */
  const imperatives =
    /^(ask|check|choose|disable|leave|project|read|recreate|report|request|reuse|see|send|set|sign|try|use) /;

  it('say what to do, however long the detail is', () => {
    for (const code of Object.keys(refusals) as (keyof typeof refusals)[]) {
      const { problem, remedy } = refusals[code];
      assert.match(remedy, imperatives, code);
      assert.doesNotMatch(`${problem}${remedy}`, /[.;]$|;/, code);
      const [detail, filled] = ['x'.repeat(10_000), 'x'.repeat(300)];
      assert.ok(descriptionOf(refuse(code, detail)).endsWith(`; ${remedy.replace('{}', filled)}.`), code);
    }
  });

  it('are of a bounded length', () => {
    assert.ok(descriptionOf(refuse('TokenRefused', 'x'.repeat(10_000))).length < 500);
  });

  it('stand in a table whose waits are 429, 500 or 503 and whose denials are 4xx', () => {
    for (const [code, { verdict, status }] of Object.entries(refusals)) {
      if (verdict === 'wait') assert.ok([429, 500, 503].includes(status), code);
      else assert.ok(status >= 400 && status < 500 && status !== 429, code);
    }
  });
});

describe('the limiter', () => {
  it('lets twice the rate through at once, then the rate, for each key', () => {
    let nowMs = 0;
    const limiter = createLimiter({ perSecond: 5, monotonic: () => nowMs });
    const taken = (key: string, times: number) =>
      Array.from({ length: times }, () => limiter.take(key)).filter((wait) => wait === 0).length;
    assert.equal(taken('a', 20), 10);
    assert.equal(taken('b', 20), 10);
    nowMs = 1000;
    assert.equal(taken('a', 20), 5);
    assert.equal(limiter.take('a'), 200);
    nowMs = 100_000;
    assert.equal(taken('a', 20), 10);
  });

  it('lets a key wait until what it was charged is paid, and no longer than two bursts', () => {
    let nowMs = 0;
    const limiter = createLimiter({ perSecond: 5, monotonic: () => nowMs });
    limiter.charge('a', 15);
    assert.equal(limiter.take('a'), 1_200);
    assert.equal(limiter.take('b'), 0);
    limiter.charge('a', 1_000);
    nowMs = 2_199;
    assert.ok(limiter.take('a') > 0);
    nowMs = 2_201;
    assert.equal(limiter.take('a'), 0);
  });

  it('forgets whoever was quiet longest, and holds a bounded number of keys', () => {
    const limiter = createLimiter({ perSecond: 1, monotonic: () => 0 });
    for (let i = 0; i < 2; i += 1) limiter.take('first');
    assert.ok(limiter.take('first') > 0);
    for (let i = 0; i < 20_000; i += 1) limiter.take(`other-${i}`);
    assert.equal(limiter.take('first'), 0);
  });
});

describe('what was seen a moment ago', () => {
  it('counts for its time, from the last time on', () => {
    let nowMs = 0;
    const recent = createRecent({ lifetimeMs: 100, monotonic: () => nowMs });
    recent.add('a');
    nowMs = 60;
    recent.add('b');
    recent.add('a');
    nowMs = 159;
    assert.deepEqual([recent.has('a'), recent.has('b'), recent.has('c')], [true, true, false]);
    nowMs = 160;
    assert.deepEqual([recent.has('a'), recent.has('b')], [false, false]);
  });

  it('is nothing where nothing is to be remembered', () => {
    const recent = createRecent({ lifetimeMs: 0, monotonic: () => 0 });
    recent.add('a');
    assert.equal(recent.has('a'), false);
  });

  it('is bounded, the oldest first', () => {
    const recent = createRecent({ lifetimeMs: 100, monotonic: () => 0 });
    for (let i = 0; i <= 20_000; i += 1) recent.add(String(i));
    assert.deepEqual([recent.has('0'), recent.has('1'), recent.has('20000')], [false, true, true]);
  });
});

describe('the review cache', () => {
  const psat = (uid: string) => ({
    subject: 's',
    namespace: 'n',
    serviceAccount: { name: 'a', uid: 'b' },
    pod: { name: 'p', uid },
    expiresAt: 0,
    notBefore: 0,
    id: '',
  });

  it('keeps a bounded number, the newest', () => {
    const cache = createReviewCache({ lifetimeMs: 1000, monotonic: () => 0 });
    for (let i = 0; i < 20_010; i += 1) cache.put(`token-${i}`, psat('pod'));
    assert.equal(cache.size, 20_000);
    assert.equal(cache.get('token-9'), undefined);
    assert.ok(cache.get('token-20009'));
  });

  it('gives back what has ended when others come', () => {
    let nowMs = 0;
    const cache = createReviewCache({ lifetimeMs: 1000, monotonic: () => nowMs });
    for (let i = 0; i < 100; i += 1) cache.put(`token-${i}`, psat(`pod-${i}`));
    nowMs = 1000;
    cache.put('late', psat('late'));
    assert.equal(cache.size, 1);
  });

  it('forgets the tokens of a pod and no others', () => {
    const cache = createReviewCache({ lifetimeMs: 1000, monotonic: () => 0 });
    for (const [token, pod] of [
      ['1', 'a'],
      ['2', 'a'],
      ['3', 'b'],
    ] as const)
      cache.put(token, psat(pod));
    cache.forgetPod('a');
    assert.deepEqual([cache.get('1'), cache.get('2'), cache.get('3')?.pod.uid], [undefined, undefined, 'b']);
  });

  it('keeps nothing where it is switched off', () => {
    const cache = createReviewCache({ lifetimeMs: 0, monotonic: () => 0 });
    cache.put('1', psat('a'));
    assert.equal(cache.get('1'), undefined);
  });
});

describe('documents', () => {
  const pool = { sequence: 1 } as unknown as Pool;
  const document = { bytes: Buffer.from('{"keys":[]}'), etag: '"abc"', contentType: 'application/json' };
  const served = createServed(
    () => pool,
    () => document,
  )();
  assert.ok(served);
  const asked = (acceptEncoding?: string, ifNoneMatch?: string) =>
    select(served, { acceptEncoding, ifNoneMatch });

  it('are compressed for those who can read it', () => {
    assert.deepEqual(gunzipSync(served.gzipped), document.bytes);
    for (const header of ['gzip', 'br, gzip;q=0.5', 'GZIP', '*']) assert.ok(asked(header).isGzipped, header);
    for (const header of ['', 'br', 'gzip;q=0', 'gzip; q=0.000', 'identity']) {
      assert.ok(!asked(header).isGzipped, header);
    }
  });

  it('are not sent again, in whichever form they were had', () => {
    for (const header of ['"abc"', 'W/"abc"', '"x", "abc"', '"abc-gzip"', '*']) {
      assert.equal(asked('gzip', header).status, 304, header);
    }
    for (const header of ['"x"', 'abc', '']) assert.equal(asked('gzip', header).status, 200, header);
  });

  it('are made once for a pool, and not while there is none', () => {
    let made = 0;
    let current: Pool | undefined;
    const get = createServed(
      () => current,
      () => {
        made += 1;
        return document;
      },
    );
    assert.equal(get(), undefined);
    current = pool;
    for (let i = 0; i < 3; i += 1) get();
    assert.equal(made, 1);
    current = { ...pool };
    get();
    assert.equal(made, 2);
  });
});
