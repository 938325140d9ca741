import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Authority } from '../../signer/authority/pool.ts';
import { type Answer, createAnswers, maxUnderWay, type Sent } from '../../signer/issuance/answers.ts';
import type { OpenRequest } from '../../signer/issuance/request.ts';
import type { Signed, Signing } from '../../signer/issuance/signing.ts';
import { anOpenRequest, aSupportedKey } from './examples.ts';

const authority = { id: 'x', signing: { der: Buffer.from('x') } } as unknown as Authority;
const decision = {
  kind: 'issue',
  subject: { uris: ['spiffe://example.org/a'], dnsNames: [], display: 'spiffe://example.org/a' },
  key: aSupportedKey,
} as never;
const outageMs = 15 * 60_000;
/** A little longer than an answer is sent again as it is. */
const roundMs = 26_000;

/** Answers whose signatures cost nothing: each chain is 1 KB of its own. */
function makeAnswers() {
  const clock = { now: 0 };
  let signatures = 0;
  const signing = {
    mayUse: () => ({ ok: true, authority }),
    sign: async () => {
      signatures += 1;
      const chainPem = randomBytes(512).toString('hex');
      const leaf = { chainPem, serialHex: '01', notBefore: 0, beginRefreshAt: 0, notAfter: 0 };
      return { ok: true, leaf, authority } as unknown as Signed;
    },
  } as unknown as Signing;
  const answers = createAnswers({ signing, monotonic: () => clock.now, now: () => clock.now });

  async function tryOnce(request: OpenRequest, outcome?: Sent): Promise<Answer> {
    const prepared = await answers.prepare(request, decision, 0);
    assert.ok(prepared.ok);
    if (outcome) answers.sent(prepared.answer, outcome);
    return prepared.answer;
  }

  /** One try every round, as long as the outage. @returns the chains, each once. */
  async function outage(request: OpenRequest, outcome: Sent): Promise<string[]> {
    const chains = new Set<string>();
    const end = clock.now + outageMs;
    for (; clock.now < end; clock.now += roundMs) {
      chains.add((await tryOnce(request, outcome)).prepared.certificateChain ?? '');
    }
    return [...chains];
  }
  return { answers, clock, outage, tryOnce, signatures: () => signatures };
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function bytesInUse(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('the tries that are kept of an answer', () => {
  it('are the last four, when no write of 15 minutes had a clear outcome', async () => {
    const { answers, outage } = makeAnswers();
    const request = anOpenRequest();
    const chains = await outage(request, 'unclear');
    assert.ok(chains.length > 30);
    const known = chains.map((chain) => answers.find(request.uid, chain) !== undefined);
    assert.deepEqual(known, [...Array(chains.length - 4).fill(false), ...Array(4).fill(true)]);
  });

  it('are the last one, when the server refused every other for certain', async () => {
    const { answers, outage } = makeAnswers();
    const request = anOpenRequest();
    const chains = await outage(request, 'refused');
    assert.ok(chains.length > 30);
    assert.deepEqual(
      chains.filter((chain) => answers.find(request.uid, chain)),
      chains.slice(-1),
    );
  });

  it('include one whose first write was unclear, though it was refused later', async () => {
    const { answers, clock, tryOnce } = makeAnswers();
    const request = anOpenRequest();
    const first = await tryOnce(request, 'unclear');
    assert.equal(await tryOnce(request, 'refused'), first);
    clock.now += roundMs;
    await tryOnce(request, 'refused');
    assert.partialDeepStrictEqual(answers.find(request.uid, first.prepared.certificateChain), {
      kind: 'issue',
      certificate: first.certificate,
    });
  });

  it('are one signature as long as the server forbids the answer', async () => {
    const { clock, outage, signatures, tryOnce } = makeAnswers();
    const request = anOpenRequest();
    await outage(request, 'forbidden');
    assert.equal(signatures(), 1);
    await tryOnce(request, 'unclear');
    clock.now += roundMs;
    await tryOnce(request);
    assert.equal(signatures(), 2);
  });

  it('take less than 8 KiB for each request, whatever an outage of 15 minutes does', async () => {
    const { answers, outage } = makeAnswers();
    const requests = Array.from({ length: 1000 }, (_, index) => anOpenRequest({ uid: `uid-${index}` }));
    const before = bytesInUse();
    for (const request of requests) await outage(request, 'unclear');
    const each = (bytesInUse() - before) / requests.length;
    assert.ok(each < 8 * 1024, `${Math.round(each)} bytes`);
    assert.ok(answers.has('uid-0'));
  });

  it('are those of 10,000 requests, without the one that was not tried for the longest time', async () => {
    const { answers, tryOnce } = makeAnswers();
    const request = (index: number) => anOpenRequest({ uid: `uid-${index}` });
    for (let index = 0; index < maxUnderWay; index += 1) await tryOnce(request(index));
    await tryOnce(request(0));
    await tryOnce(request(maxUnderWay));
    assert.deepEqual(
      [0, 1, 2, maxUnderWay].map((index) => answers.has(`uid-${index}`)),
      [true, false, true, true],
    );
  });
});
