import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Attempt, answerWith } from '../../signer/issuance/attempt.ts';
import {
  createRequestStates,
  defaultMaxOpenOfPod,
  maxWithBytes,
  type RequestState,
} from '../../signer/issuance/request-state.ts';
import { timeWith } from '../kube/fake-time.ts';
import { anOpenRequest } from './examples.ts';

function makeStates() {
  const clock = { ms: 0 };
  const states = createRequestStates({ time: timeWith({ monotonic: () => clock.ms }) });
  const see = (uid: string) => states.see(anOpenRequest({ uid, name: uid })).state;
  return { clock, states, see };
}

/** An attempt with a chain of 1 KB of its own. */
function anAttempt(different: Partial<Attempt> = {}): Attempt {
  const certificateChain = randomBytes(512).toString('hex');
  return {
    answer: { reason: 'Issued', detail: 'spiffe://example.org/a', certificate: undefined },
    body: JSON.stringify({ certificateChain }),
    certificateChain,
    authority: undefined,
    identity: undefined,
    preparedAt: 0,
    mayStand: false,
    isForbidden: false,
    ...different,
  };
}

/** Sends so many different answers. @returns which of them are recognised afterwards, the oldest first. */
function knownOf(count: number, mayStand: (index: number) => boolean): boolean[] {
  const { states, see } = makeStates();
  const state = see('uid');
  const attempts = Array.from({ length: count }, (_, index) => anAttempt({ mayStand: mayStand(index) }));
  for (const attempt of attempts) states.send(state, attempt);
  return attempts.map(({ certificateChain }) => answerWith(state, certificateChain) !== undefined);
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function bytesInUse(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('the answers of ours that a request is known by', () => {
  it('the own answers of a request are the last four, when no write had a clear outcome', () => {
    assert.deepEqual(
      knownOf(30, () => true),
      [...Array(26).fill(false), ...Array(4).fill(true)],
    );
  });

  it('the own answer of a request is the last one, when the API server refused every other for certain', () => {
    assert.deepEqual(
      knownOf(30, () => false),
      [...Array(29).fill(false), true],
    );
  });

  it('the own answers of a request include one whose write was unclear, when the later ones were refused', () => {
    assert.deepEqual(
      knownOf(5, (index) => index === 0),
      [true, false, false, false, true],
    );
  });

  it('the own answers take less than 8 KiB for each request, for any number of them', () => {
    const { states, see } = makeStates();
    const count = 1000;
    const before = bytesInUse();
    for (let index = 0; index < count; index += 1) {
      const state = see(`uid-${index}`);
      for (let round = 0; round < 30; round += 1) states.send(state, anAttempt({ mayStand: true }));
    }
    const each = (bytesInUse() - before) / count;
    assert.ok(each < 8 * 1024, `${Math.round(each)} bytes`);
    assert.ok(states.get('uid-0'));
  });

  it('the own answers of 10,000 requests keep their bytes, and the one not sent for longest is still recognised', () => {
    const { states, see } = makeStates();
    const attempts = new Map<RequestState, Attempt>();
    const send = (index: number) => {
      const state = see(`uid-${index}`);
      const attempt = attempts.get(state) ?? anAttempt({ mayStand: true });
      attempts.set(state, attempt);
      states.send(state, attempt);
    };
    for (let index = 0; index < maxWithBytes; index += 1) send(index);
    send(0);
    send(maxWithBytes);
    const hasBytes = (index: number) => see(`uid-${index}`).attempt !== undefined;
    assert.deepEqual([0, 1, 2, maxWithBytes].map(hasBytes), [true, false, true, true]);
    const lost = see('uid-1');
    assert.ok(answerWith(lost, attempts.get(lost)?.certificateChain));
  });
});

describe('the life of a request', () => {
  it('the life of a request begins once, even if the request is seen open again', () => {
    const { clock, states, see } = makeStates();
    const state = see('uid');
    clock.ms = 700;
    assert.deepEqual(states.see(anOpenRequest({ uid: 'uid', version: 'v1beta1' })), { state, isNew: false });
    assert.equal(state.firstSeen, 0);
    assert.equal(state.request.version, 'v1beta1');
  });

  it('the life of a request ends with an answer, unless a write of ours has an unknown outcome', () => {
    const { states, see } = makeStates();
    const rows: [name: string, prepare: (state: RequestState) => void, isLeft: boolean][] = [
      ['seen', () => undefined, false],
      ['waiting', (state) => states.wait(state, 'facts'), false],
      ['dropped', (state) => states.drop(state), false],
      ['sent', (state) => states.send(state, anAttempt()), true],
      [
        'sent and then waiting',
        (state) => {
          states.send(state, anAttempt({ mayStand: true }));
          states.wait(state, 'server', true);
        },
        true,
      ],
      [
        'confirmed',
        (state) => {
          states.send(state, anAttempt({ mayStand: true }));
          states.confirm(state);
        },
        false,
      ],
      ['closed', (state) => states.close(state), false],
    ];
    for (const [name, prepare, isLeft] of rows) {
      const state = see(name);
      prepare(state);
      assert.equal(states.sawAnswer(name), isLeft, name);
      assert.equal(states.isKnown(state), isLeft, name);
      if (!isLeft) assert.equal(state.attempt, undefined, `the bytes of the answer: ${name}`);
      assert.equal(states.sawAnswer(name), isLeft, `${name}, shown once more`);
      states.forget(name);
      assert.equal(states.size(), 0);
    }
  });

  it('a late worker that uses a forgotten request leaves no state of it', () => {
    const { states, see } = makeStates();
    const state = see('uid');
    states.forget('uid');
    states.count(state);
    states.send(state, anAttempt({ mayStand: true }));
    states.wait(state, 'server', true);
    states.wait(state, 'place');
    assert.equal(states.size(), 0);
    assert.deepEqual(states.taken(), []);
    assert.deepEqual(states.pending(), { count: 0, oldestMs: 0 });
  });

  it('a request counts as pending from first sight until an answer is seen, but not while it is dropped', () => {
    const { clock, states, see } = makeStates();
    const first = see('first');
    clock.ms = 300;
    see('second');
    clock.ms = 500;
    assert.deepEqual(states.pending(), { count: 2, oldestMs: 500 });
    states.drop(first);
    assert.deepEqual(states.pending(), { count: 1, oldestMs: 200 });
    states.wait(first, 'facts');
    assert.deepEqual(states.pending(), { count: 2, oldestMs: 500 });
    states.sawAnswer('first');
    assert.deepEqual(states.pending(), { count: 1, oldestMs: 200 });
  });

  it('a place that a request is offered and does not take is offered to the next in line', () => {
    const offered: string[] = [];
    const states = createRequestStates({
      time: timeWith({}),
      maxOpenOfPod: 1,
      onPlace: ({ key }) => offered.push(key),
    });
    const see = (uid: string) => states.see(anOpenRequest({ uid, name: uid })).state;
    const [first, ...line] = ['first', 'facts', 'signer', 'dropped', 'gone', 'denied', 'good'].map(see);
    const [facts, signer, dropped, gone, denied, good] = line;
    assert.ok(first && facts && signer && dropped && gone && denied && good);
    assert.ok(states.count(first));
    for (const each of line) states.wait(each, 'place');
    assert.deepEqual(offered, []);
    states.forget('first');
    states.wait(facts, 'facts');
    states.wait(signer, 'signer');
    states.drop(dropped);
    states.forget('gone');
    states.send(denied, anAttempt());
    assert.deepEqual(
      offered,
      line.map(({ key }) => key),
    );
    assert.ok(states.count(good));
    for (const { request } of line) states.forget(request.uid);
    assert.equal(states.size(), 0);
  });

  it('a request frees its place in the limit of its pod when it is answered or gone', () => {
    const { states, see } = makeStates();
    const counted = Array.from({ length: defaultMaxOpenOfPod }, (_, index) => see(`uid-${index}`));
    for (const state of counted) assert.ok(states.count(state));
    assert.equal(states.count(see('another')), false);
    states.sawAnswer('uid-0');
    assert.equal(states.count(see('another')), true);
    assert.equal(states.count(see('one more')), false);
    states.forget('uid-1');
    assert.equal(states.count(see('one more')), true);
  });
});
