import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import type { OpenRequest } from '../../signer/issuance/request.ts';
import { ranking } from '../../signer/kube/ranking.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { cannot } from '../../signer/observe/reasons.ts';
import { settle } from '../kube/fake-time.ts';
import { anOpenRequest, aPod } from './examples.ts';
import { type Replica, startReplica, startsAt } from './replica.ts';

const trustDomain = 'example.org';
const x = await createAuthority({ id: 'x', trustDomain, now: startsAt });
const y = await createAuthority({ id: 'y', trustDomain, now: startsAt });
/** Each pool is a change of the one before it, so its sequence is greater. */
let sequence = 0;
const poolOf = (...authorities: [AuthorityRecord, ...AuthorityRecord[]]): Secret => {
  sequence += 1;
  return {
    metadata: { name: 'pool' },
    data: serializePool({ ...newPool(trustDomain, ...authorities), sequence }),
  };
};
const tainted = { ...x, state: 'retiring', tainted: true } as const;

const issuers = { x, y };
/** Which authority signed a chain. */
function signerOf(chain: string | undefined): string | undefined {
  const leaf = new X509Certificate(chain ?? '');
  return Object.entries(issuers).find(([, { certificate }]) =>
    leaf.verify(new X509Certificate(certificate ?? '').publicKey),
  )?.[0];
}
const serialOf = (chain: string | undefined) => new X509Certificate(chain ?? '').serialNumber.toLowerCase();

let replica: Replica;
afterEach(() => replica.stop());

async function start(pool = poolOf(x)): Promise<Replica> {
  replica = await startReplica({ pool });
  return replica;
}

/** A request of this rank for the replica, and for `signer-b` beside it. */
const [owned, others] = [0, 1].map((rank) => {
  const uids = Array.from({ length: 50 }, (_, i) => `uid-${i}`);
  return uids.find((uid) => ranking(uid, ['signer-a', 'signer-b']).indexOf('signer-a') === rank);
}) as [string, string];

const issued = 'kubespiffe_issuance_total{outcome="issue",reason="Issued",signer="kubespiffe.io/spiffe"}';
const counted = (verdict: string, reason: string) =>
  `kubespiffe_issuance_total{outcome="${verdict}",reason="${reason}",signer="kubespiffe.io/spiffe"}`;

describe('a request that can be answered', () => {
  it('a request is answered with one write, and its outcome is reported once the write is confirmed', async () => {
    const { audits, chains, metric, see, seeAnswer } = await start();
    const request = await see();
    assert.equal(chains().length, 1);
    assert.equal(signerOf(chains()[0]), 'x');
    await seeAnswer(request);
    assert.partialDeepStrictEqual(audits, [
      { outcome: 'Issued', authority: 'x', serial: serialOf(chains()[0]), request: { uid: request.uid } },
    ]);
    assert.equal(await metric(issued), 1);
    assert.equal(
      await metric(
        'kubespiffe_issuance_latency_seconds_count{outcome="issue",signer="kubespiffe.io/spiffe"}',
      ),
      1,
    );
    assert.equal(replica.controller.pending().count, 0);
  });

  it('a request whose creation time cannot be read gets a certificate', async () => {
    const { metric, see } = await start();
    await see({ createdAtMs: Number.NaN });
    assert.equal(await metric(issued), 1);
    assert.equal(
      await metric('kubespiffe_request_age_at_first_sight_seconds_count{signer="kubespiffe.io/spiffe"}'),
      0,
    );
  });

  it('a request that another replica answered is left alone and counted', async () => {
    const { audits, metric, see, stored } = await start();
    replica.fate = () => {
      const condition = { type: 'Issued', status: 'True', reason: 'Issued', lastTransitionTime: '' } as const;
      stored.set('req-1', { conditions: [condition], certificateChain: 'OTHER' });
      return 'through';
    };
    await see();
    await replica.time.advance(60_000);
    assert.deepEqual(audits, []);
    assert.equal(replica.writes().length, 1);
    assert.equal(await metric('kubespiffe_answered_elsewhere_total{signer="kubespiffe.io/spiffe"}'), 1);
  });
});

describe('an answer whose write failed', () => {
  it('an answer whose write failed is sent again as the same bytes', async () => {
    const { chains, see, time } = await start();
    replica.fate = () => (replica.writes().length < 3 ? 'broken' : 'through');
    await see();
    await time.advance(5_000);
    assert.equal(chains().length, 3);
    assert.equal(new Set(chains()).size, 1);
  });

  it('an answer whose write failed is sent again as the same bytes through the API version that is served now', async () => {
    const { chains, see, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? { status: 404 } : 'through');
    await see({ version: 'v1beta1' });
    await see({ version: 'v1' });
    await time.advance(1_000);
    const paths = replica.writes().map(({ path }) => path.split('/')[3]);
    assert.deepEqual(paths, ['v1beta1', 'v1']);
    assert.equal(new Set(chains()).size, 1);
    assert.equal(replica.audits.at(-1)?.reason, 'Issued');
  });

  it('an answer that was written through one API version is settled through the version that is served now', async () => {
    const { audits, chains, see, seeAnswer, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? 'lost' : 'through');
    const request = await see({ version: 'v1beta1' });
    await seeAnswer({ ...request, version: 'v1' });
    await time.advance(1_000);
    assert.deepEqual(
      replica.writes().map(({ path }) => path.split('/')[3]),
      ['v1beta1', 'v1'],
    );
    assert.equal(audits.at(-1)?.serial, serialOf(chains()[0]));
  });

  const problems: [name: string, reason: string, set: () => void, unset: () => void][] = [
    [
      'its authority is tainted',
      'PoolUnusable',
      () => replica.putPool(poolOf(tainted)),
      () => replica.putPool(poolOf(x)),
    ],
    [
      'the pool is not confirmed any more',
      'PoolUnusable',
      () => Object.assign(replica, { isConfirmed: false }),
      () => Object.assign(replica, { isConfirmed: true }),
    ],
    [
      'the root is not seen in the bundle any more',
      'TrustNotPublished',
      () => Object.assign(replica, { isPublished: false }),
      () => Object.assign(replica, { isPublished: true }),
    ],
    [
      'the admission policy is missing',
      'RequestsUnguarded',
      () => Object.assign(replica, { refusal: cannot('RequestsUnguarded', 'no policy') }),
      () => Object.assign(replica, { refusal: undefined }),
    ],
    [
      'the clock is off',
      'ClockSkew',
      () => Object.assign(replica, { clockProblem: 'an hour' }),
      () => Object.assign(replica, { clockProblem: undefined }),
    ],
  ];
  for (const [name, reason, set, unset] of problems) {
    it(`an answer is not sent again while ${name}`, async () => {
      const { audits, chains, see, time } = await start();
      replica.fate = () => (replica.writes().length < 2 ? 'broken' : 'through');
      await see();
      set();
      await time.advance(10_000);
      assert.equal(chains().length, 1);
      assert.equal(audits.at(-1)?.reason, reason);
      unset();
      replica.controller.wake();
      await settle();
      assert.equal(chains().length, 2);
      assert.equal(new Set(chains()).size, 1, 'still young enough to be the same bytes');
    });
  }

  it('a denial is sent again in every state of the pool', async () => {
    const { see, time } = await start(poolOf(tainted));
    replica.fate = () => (replica.writes().length < 2 ? 'broken' : 'through');
    await see({ annotationProblem: 'example.org/a' });
    await time.advance(1_000);
    assert.equal(replica.audits.at(-1)?.outcome, 'Denied');
    assert.equal(new Set(replica.writes().map(({ body }) => body)).size, 1);
  });

  it('an answer is signed again when its notBefore is too old for the API server', async () => {
    const { chains, see, time } = await start();
    replica.fate = () => 'broken';
    await see();
    await time.advance(40_000);
    const [first = '', ...rest] = chains();
    const youngest = new X509Certificate(rest.at(-1) ?? '');
    assert.ok(Date.parse(youngest.validFrom) - Date.parse(new X509Certificate(first).validFrom) >= 25_000);
    assert.equal(new Set(chains()).size, 2);
  });

  it('an answer is signed again when another authority has become active', async () => {
    const { audits, chains, see, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? 'broken' : 'through');
    await see();
    replica.putPool(poolOf(tainted, y));
    await time.advance(1_000);
    assert.deepEqual(chains().map(signerOf), ['x', 'y']);
    assert.deepEqual(
      audits.filter(({ outcome }) => outcome === 'Issued').map(({ authority }) => authority),
      ['y'],
    );
  });

  it('an answer is signed again when the registration of its pod has changed', async () => {
    const { audits, chains, see, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? { status: 403 } : 'through');
    await see();
    replica.terms = { registration: 'shop/web', maxLifetimeSeconds: 3_600 };
    await time.advance(1_000);
    const [before, after] = chains().map((chain) => new X509Certificate(chain ?? '').validToDate.getTime());
    assert.ok(Number(before) - Number(after) > 3_600_000);
    const issued = audits.filter(({ outcome }) => outcome === 'Issued');
    assert.deepEqual(
      issued.map(({ registration, serial }) => ({ registration, serial })),
      [{ registration: 'shop/web', serial: serialOf(chains()[1]) }],
    );
  });

  it('a forbidden answer is sent as the same bytes for 15 minutes, and is signed once more if it is too old then', async () => {
    const { audits, chains, metric, see, time } = await start();
    replica.fate = () => ({ status: 403 });
    await see();
    await time.advance(15 * 60_000);
    const forbidden = chains().length;
    assert.ok(forbidden >= 20, `${forbidden} writes`);
    assert.equal(new Set(chains()).size, 1);
    // As the API server does with a notBefore that lies more than 5 min back.
    replica.fate = () => (chains().at(-1) === chains()[0] ? { status: 422 } : 'through');
    await time.advance(16_000);
    assert.notEqual(chains()[forbidden + 1], chains()[0]);
    assert.equal(new Set(chains()).size, 2);
    assert.equal(audits.at(-1)?.serial, serialOf(chains().at(-1)));
    assert.equal(await metric('kubespiffe_status_rejected_total{signer="kubespiffe.io/spiffe"}'), 0);
  });

  it('a forbidden answer is not sent once its authority is tainted', async () => {
    const { audits, chains, see, time } = await start();
    replica.fate = () => ({ status: 403 });
    await see();
    await time.advance(60_000);
    const sent = chains().length;
    replica.putPool(poolOf(tainted));
    await time.advance(60_000);
    assert.equal(chains().length, sent);
    assert.equal(audits.at(-1)?.reason, 'PoolUnusable');
  });

  it('a certificate that was written after all counts as ours, even if another one was signed since', async () => {
    const { audits, chains, metric, see, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? 'lost' : 'through');
    await see();
    replica.putPool(poolOf(tainted, y));
    await time.advance(1_000);
    assert.deepEqual(chains().map(signerOf), ['x', 'y']);
    const told = audits.filter(({ outcome }) => outcome === 'Issued');
    assert.deepEqual(
      told.map(({ authority, serial }) => ({ authority, serial })),
      [{ authority: 'x', serial: serialOf(chains()[0]) }],
    );
    assert.equal(await metric('kubespiffe_answered_elsewhere_total{signer="kubespiffe.io/spiffe"}'), 0);
  });

  it('the certificate in the status is reported, even if the server answered 200 to another one', async () => {
    const { audits, chains, see, time } = await start();
    replica.fate = () => (replica.writes().length < 2 ? { status: 200 } : 'through');
    await see();
    replica.putPool(poolOf(tainted, y));
    await time.advance(15_000);
    assert.deepEqual(chains().map(signerOf), ['x', 'y']);
    assert.equal(audits.at(-1)?.serial, serialOf(chains()[1]));
  });

  it('an answer is reported once, even if it is sent again because the watch does not show it', async () => {
    const { audits, chains, see, time } = await start();
    replica.fate = () => (replica.writes().length === 2 ? { status: 403 } : 'through');
    await see();
    await time.advance(12_000);
    assert.equal(chains().length, 3);
    assert.equal(new Set(chains()).size, 1);
    assert.deepEqual(
      audits.map(({ reason }) => reason),
      ['Issued', 'SignerForbidden'],
    );
  });

  for (const retryAfterMs of [0, 1000]) {
    it(`an answer backs off from a server that asks for ${retryAfterMs} ms each time`, async () => {
      const { see, time } = await start();
      replica.fate = () => ({ status: 502, retryAfterMs });
      await see();
      await time.advance(20_000);
      const writes = replica.writes().length;
      assert.ok(writes >= 4 && writes <= 12, `${writes} in 20 s`);
    });
  }

  it('an answer is sent at once when the server accepts another one, because the outage is over', async () => {
    const { see, time } = await start();
    let isDown = true;
    replica.fate = () => (isDown ? 'broken' : 'through');
    for (const name of ['req-1', 'req-2', 'req-3']) await see({ uid: name, name });
    await time.advance(20_000);
    isDown = false;
    const before = replica.writes().length;
    await see({ uid: 'req-4', name: 'req-4' });
    assert.equal(replica.writes().length, before + 4);
  });

  it('an answer that the server never accepts is not sent again with every other answer', async () => {
    const { see, time } = await start();
    replica.fate = ({ metadata }) => (metadata.uid === 'stuck' ? { status: 500 } : 'through');
    await see({ uid: 'stuck', name: 'stuck' });
    for (let index = 0; index < 50; index += 1) {
      await see({ uid: `uid-${index}`, name: `req-${index}` });
      await time.advance(100);
    }
    const stuck = replica.writes().filter(({ path }) => path.includes('/stuck/'));
    assert.ok(stuck.length <= 8, `${stuck.length} in 5 s`);
    assert.equal(replica.writes().length - stuck.length, 50);
  });

  it('an answer that the server rejects as malformed is sent more and more rarely, and raises the alarm', async () => {
    const { events, metric, see, time } = await start();
    replica.fate = () => ({ status: 422 });
    await see();
    await time.advance(60_000);
    assert.ok(replica.writes().length <= 12, `${replica.writes().length} in a minute`);
    assert.equal(await metric('kubespiffe_status_rejected_total{signer="kubespiffe.io/spiffe"}'), 1);
    assert.deepEqual(
      events().map(({ reason }) => reason),
      ['StatusRejected'],
    );
  });

  it('a failing write is reported on the pod only after it has failed for a while', async () => {
    const { events, see, time } = await start();
    replica.fate = () => ({ status: 500, body: { kind: 'Status', message: 'failed calling webhook' } });
    await see();
    await time.advance(45_000);
    assert.deepEqual(events(), []);
    await time.advance(60_000);
    assert.equal(events().length, 1);
    assert.equal(events()[0]?.reason, 'ApiUnavailable');
    assert.match(events()[0]?.note ?? '', /failed calling webhook/);
  });
});

describe('a pod with many open requests', () => {
  /** Requests of one pod that stay open, as the server takes no answer. */
  async function openRequests(count: number): Promise<void> {
    replica.fate = () => 'broken';
    for (let index = 0; index < count; index += 1) {
      await replica.see({ uid: `uid-${index}`, name: `req-${index}` });
    }
  }
  const written = () => new Set(replica.writes().map(({ path }) => path)).size;
  const lastReason = (uid: string) =>
    replica.audits.filter(({ request }) => request.uid === uid).at(-1)?.reason;

  it('a pod has 64 requests considered, and the next one when one of those is gone', async () => {
    const { time } = await start();
    await openRequests(66);
    assert.equal(written(), 64);
    assert.deepEqual(['uid-63', 'uid-64', 'uid-65'].map(lastReason), [
      'ApiUnavailable',
      'TooManyOpenRequests',
      'TooManyOpenRequests',
    ]);
    assert.deepEqual(replica.events(), []);
    await time.advance(60_000);
    assert.equal(written(), 64);
    // Without waiting for a back-off.
    replica.requests.delete('shop/req-0');
    await settle();
    assert.equal(written(), 65);
    await replica.seeAnswer(replica.requests.get('shop/req-1') as OpenRequest);
    assert.equal(written(), 66);
  });

  it('a pod with many open requests does not delay the certificate of another pod', async () => {
    await start();
    await openRequests(65);
    replica.fate = () => 'through';
    replica.pods.set('shop/web-1', aPod({ uid: 'another-pod' }));
    const { key } = replica.requests.get('shop/req-0') as OpenRequest;
    const other = { uid: 'other', name: 'other', podName: 'web-1', podUID: 'another-pod', key };
    replica.requests.set('shop/other', anOpenRequest(other));
    await settle();
    assert.equal(lastReason('other'), 'Issued');
  });

  it('only requests with the facts of a pod count towards the limit of the pod', async () => {
    await start();
    for (let index = 0; index < 70; index += 1) {
      await replica.see({ uid: `false-${index}`, name: `false-${index}`, nodeName: 'node-of-attacker' });
    }
    await replica.see({ uid: 'true', name: 'true' });
    assert.equal(lastReason('true'), 'Issued');
  });

  it('only requests that are believed to come from a node count towards the limit of the pod', async () => {
    await start();
    replica.refusal = cannot('CreatedUnguarded', 'no policy');
    for (let index = 0; index < 70; index += 1) {
      await replica.see({ uid: `unguarded-${index}`, name: `unguarded-${index}` });
    }
    assert.equal(lastReason('unguarded-69'), 'CreatedUnguarded');
    replica.refusal = undefined;
    await replica.see({ uid: 'true', name: 'true' });
    assert.equal(lastReason('true'), 'Issued');
  });

  it('requests that are not believed any more give their places back to the pod', async () => {
    const { time } = await start();
    await openRequests(64);
    replica.refusal = cannot('CreatedUnguarded', 'no policy');
    await time.advance(60_000);
    assert.equal(lastReason('uid-63'), 'CreatedUnguarded');
    replica.refusal = undefined;
    replica.fate = () => 'through';
    await replica.see({ uid: 'true', name: 'true' });
    assert.equal(lastReason('true'), 'Issued');
  });

  it('a pod gets all of its requests answered if each is answered before the next one', async () => {
    await start();
    for (let index = 0; index < 100; index += 1) {
      await replica.seeAnswer(await replica.see({ uid: `uid-${index}`, name: `req-${index}` }));
    }
    assert.equal(replica.chains().length, 100);
    assert.ok(!replica.audits.some(({ reason }) => reason === 'TooManyOpenRequests'));
  });
});

describe('a request that waits', () => {
  it('a waiting request is reported by its owner only', async () => {
    const { audits, events, metric, see, setMembers, time } = await start(poolOf(tainted));
    setMembers('signer-a', 'signer-b');
    await see({ uid: others });
    await time.advance(5_000);
    assert.deepEqual([audits, events()], [[], []]);
    assert.equal(await metric(counted('wait', 'PoolUnusable')), 0);
    await see({ uid: owned, name: 'req-2' });
    assert.deepEqual([audits.length, events().length], [1, 1]);
    assert.equal(await metric(counted('wait', 'PoolUnusable')), 1);
  });

  it('a waiting request is reported by its new owner when the previous owner has died', async () => {
    const { audits, events, metric, see, setMembers, time } = await start(poolOf(tainted));
    setMembers('signer-a', 'signer-b');
    const request = await see({ uid: others });
    await time.advance(5_000);
    setMembers('signer-a');
    await time.advance(5_000);
    assert.deepEqual(
      events().map(({ reason, regarding }) => [reason, regarding.name]),
      [['PoolUnusable', request.podName]],
    );
    assert.equal(audits.length, 1);
    assert.equal(await metric(counted('wait', 'PoolUnusable')), 1);
    setMembers('signer-a', 'signer-c');
    setMembers('signer-a');
    await time.advance(60_000);
    assert.deepEqual([audits.length, events().length], [1, 1], 'once is enough');
  });

  it('a waiting request is reported again when the same reason has another cause', async () => {
    const { audits, events, putPool, see, time } = await start({ metadata: { name: 'pool' }, data: {} });
    await see();
    putPool({ metadata: { name: 'pool' }, data: { 'pool.json': Buffer.from('{').toString('base64') } });
    await time.advance(60_000);
    assert.equal(events().length, 2);
    assert.notEqual(events()[0]?.note, events()[1]?.note);
    assert.deepEqual(
      audits.map(({ message }) => message),
      events().map(({ note }) => note),
    );
  });

  it('a waiting request does not flood the log when its message changes each time', async () => {
    const { audits, events, see, time } = await start();
    for (let seconds = 0; seconds < 900; seconds += 1) {
      replica.clockProblem = `${seconds} s slow`;
      if (seconds === 0) await see();
      await time.advance(1_000);
    }
    assert.deepEqual([audits.length, events().length], [5, 5]);
  });

  it('a waiting request whose key cannot be read raises the alarm', async () => {
    const { events, metric, see } = await start();
    await see({ key: { form: 'both' } });
    assert.equal(await metric('kubespiffe_unreadable_requests_total{signer="kubespiffe.io/spiffe"}'), 1);
    assert.equal(await metric(counted('wait', 'RequestUnreadable')), 1);
    assert.equal(events()[0]?.reason, 'RequestUnreadable');
  });

  it('a waiting request reports on the pod that the API version which has its key cannot be read', async () => {
    const { api, events, see } = await start();
    replica.served = ['v1', 'v1beta1'];
    const answer = api.answer;
    api.answer = (call) => (call.path.includes('/v1beta1/') ? { status: 500 } : answer(call));
    await see({ key: { form: 'none' } });
    assert.equal(events()[0]?.reason, 'KeyNotVisible');
    assert.match(events()[0]?.note ?? '', /v1beta1 failed \(.*trouble/);
  });

  it('a request that waits for its pod is not tried again when the signer can issue again', async () => {
    const { api, controller, see } = await start();
    replica.livePod = { status: 503 };
    await see({ nodeName: 'another' });
    const calls = api.requests.length;
    controller.wake();
    await settle();
    assert.equal(api.requests.length, calls);
    replica.pods.set('shop/web-0', aPod({ nodeName: 'another' }));
    await settle();
    assert.equal(replica.writes().length, 1);
  });

  it('a waiting request is counted as pending until it is answered', async () => {
    const { controller, see, time } = await start(poolOf(tainted));
    const request = await see();
    await time.advance(7_000);
    assert.partialDeepStrictEqual(controller.pending(), { count: 1, oldestMs: 7_000 });
    replica.putPool(poolOf(x));
    controller.wake();
    await settle();
    await replica.seeAnswer(request);
    assert.equal(controller.pending().count, 0);
  });
});

describe('a request whose pod is gone', () => {
  it('a dropped request is reported by its owner only, and by the next owner after its death', async () => {
    const { audits, events, see, setMembers, time } = await start();
    replica.livePod = { status: 404, body: notFound('web-0') };
    setMembers('signer-a', 'signer-b');
    await see({ uid: others, podUID: 'an-earlier-pod' });
    await time.advance(5_000);
    assert.deepEqual(audits, []);
    setMembers('signer-a');
    await time.advance(5_000);
    assert.deepEqual(
      audits.map(({ reason }) => reason),
      ['PodGone'],
    );
    assert.deepEqual(events(), []);
  });

  it('a dropped request is considered again after a change of its owner, and then rests', async () => {
    const { api, see, setMembers, time, controller } = await start();
    replica.livePod = { status: 404, body: notFound('web-0') };
    setMembers('signer-a', 'signer-b');
    const timers = time.pending();
    await see({ uid: others, podUID: 'an-earlier-pod' });
    await time.advance(5_000);
    const lookedAt = api.requests.length;
    assert.deepEqual(controller.pending(), { count: 0, oldestMs: 0, queued: 0 });
    setMembers('signer-a', 'signer-b', 'signer-c');
    await time.advance(5_000);
    assert.equal(api.requests.length, lookedAt + 1);
    assert.equal(time.pending(), timers);
  });
});

describe('a request of another owner', () => {
  it('a request of another owner is taken over after the delay, and its denial is reported on the pod', async () => {
    const { events, metric, see, setMembers, time } = await start();
    setMembers('signer-a', 'signer-b');
    await see({ uid: others, annotationProblem: 'example.org/a' });
    await time.advance(900);
    assert.equal(replica.writes().length, 0);
    await time.advance(200);
    assert.equal(replica.writes().length, 1);
    assert.equal(await metric('kubespiffe_takeovers_total{signer="kubespiffe.io/spiffe"}'), 1);
    assert.equal(events()[0]?.reason, 'InvalidUnverifiedUserAnnotations');
  });

  it('a request is taken over even if its owner denies others, because a denial needs no CA', async () => {
    const { see, seeAnswer, setMembers, time } = await start();
    setMembers('signer-a', 'signer-b');
    await see({ uid: others });
    for (let round = 0; round < 5; round += 1) {
      const denied = await see({ uid: `${others}-${round}`, name: `denied-${round}`, nodeName: 'node-2' });
      await seeAnswer(denied, 'signer-b', 'Denied');
      await time.advance(250);
    }
    assert.ok(replica.writes().some(({ path }) => path.includes('/req-1/')));
  });

  it('a request is taken over even if fields of its pod that do not matter keep changing', async () => {
    const { pods, see, setMembers, time } = await start();
    setMembers('signer-a', 'signer-b');
    await see({ uid: others });
    for (let round = 0; round < 5; round += 1) {
      pods.set('shop/web-0', aPod({ deletesAt: round }));
      await time.advance(250);
    }
    assert.equal(replica.writes().length, 1);
  });

  it('a request is left to its owner for another delay when its pod has become right', async () => {
    const { pods, see, setMembers, time } = await start();
    setMembers('signer-a', 'signer-b');
    await see({ uid: others });
    await time.advance(500);
    pods.set('shop/web-0', aPod({ nodeName: 'node-2' }));
    await time.advance(700);
    pods.set('shop/web-0', aPod());
    await time.advance(700);
    assert.equal(replica.writes().length, 0);
    await time.advance(400);
    assert.equal(replica.writes().length, 1);
  });
});

function notFound(name: string): object {
  return { kind: 'Status', reason: 'NotFound', message: 'not found', details: { name } };
}
