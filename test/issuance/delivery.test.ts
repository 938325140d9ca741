import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Answer, Answers } from '../../signer/issuance/answers.ts';
import { createDelivery, type Delivered } from '../../signer/issuance/delivery.ts';
import type { WriteOutcome } from '../../signer/issuance/status.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { anOpenRequest } from './examples.ts';

const request = anOpenRequest();
const tryOf = (certificateChain: string): Answer => ({
  request,
  prepared: { body: '', certificateChain },
  kind: 'deny',
  reason: 'UnsupportedKeyType',
  detail: '',
  certificate: undefined,
  authority: undefined,
  firstSeen: 0,
  preparedAt: 0,
});
const tries = [tryOf('FIRST'), tryOf('SECOND')] as const;

const rows: [name: string, outcome: WriteOutcome, expected: Partial<Delivered>, rediscovers?: boolean][] = [
  ['a write that was taken', { kind: 'written' }, { kind: 'confirmed', answer: tries[1] }],
  [
    'a request that holds an earlier try of ours',
    { kind: 'answered', as: 'Issued', certificateChain: 'FIRST' },
    { kind: 'confirmed', answer: tries[0] },
  ],
  [
    'a request that holds the answer of another replica',
    { kind: 'answered', as: 'Issued', certificateChain: 'OTHER' },
    { kind: 'elsewhere' },
  ],
  ['a request that is gone', { kind: 'gone' }, { kind: 'gone' }],
  ['a version that is gone', { kind: 'not-served' }, { kind: 'again', reason: 'ApiUnavailable' }, true],
  [
    'a write that we may not do',
    { kind: 'forbidden', detail: 'no' },
    { kind: 'again', reason: 'SignerForbidden', detail: 'no' },
  ],
  [
    'an answer that the server finds fault with',
    { kind: 'rejected', detail: 'no' },
    { kind: 'again', reason: 'StatusRejected', detail: 'no' },
  ],
  [
    'a server that wants to be left alone',
    { kind: 'unavailable', detail: 'busy', retryAfterMs: 7000, isRefusal: true },
    { kind: 'again', reason: 'ApiUnavailable', detail: 'busy', retryAfterMs: 7000 },
  ],
];

describe('what is left to do after an answer was sent', () => {
  for (const [name, outcome, expected, rediscovers = false] of rows) {
    it(`${name}: ${expected.kind}`, async () => {
      const metrics = createMetrics();
      let looksAgain = false;
      const deliver = createDelivery({
        status: { write: async () => outcome },
        answers: {
          find: (_uid: string, chain: string | undefined) =>
            tries.find(({ prepared }) => prepared.certificateChain === chain),
          sent: () => undefined,
          isOld: () => false,
        } as unknown as Answers,
        metrics,
        rediscover: () => {
          looksAgain = true;
        },
      });
      const delivered = await deliver(tries[1], request, AbortSignal.timeout(1000));
      assert.partialDeepStrictEqual(delivered, expected);
      assert.equal(looksAgain, rediscovers);
      const elsewhere = expected.kind === 'elsewhere' ? 1 : 0;
      assert.match(
        await metrics.render(),
        new RegExp(`^kubespiffe_answered_elsewhere_total ${elsewhere}$`, 'm'),
      );
    });
  }
});
