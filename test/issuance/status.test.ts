import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createStatusWriter, prepareAnswer, type WriteOutcome } from '../../signer/issuance/status.ts';
import { ApiConnectionError, ApiStatusError } from '../../signer/kube/api-error.ts';
import type { ApiRequest, Transport } from '../../signer/kube/transport.ts';
import type { PodCertificateRequestStatus } from '../../signer/kube/types.ts';
import { anOpenRequest } from './examples.ts';

const request = anOpenRequest();
const issued = prepareAnswer(
  request,
  { type: 'Issued', reason: 'Issued', message: 'done', at: 1_800_000_000 },
  { chainPem: 'CHAIN', notBefore: 1_799_999_880, beginRefreshAt: 1_800_043_080, notAfter: 1_800_086_280 },
);

function refusal(status: number, details?: ApiStatusError['details']): ApiStatusError {
  const body = { message: 'no', ...(details && { details }) };
  return new ApiStatusError({ method: 'PATCH', path: '/status' }, { status, body, retryAfterMs: undefined });
}

/** A transport whose PATCH fails in one way and whose GET shows one status. */
function writerFor(patch: Error | undefined, live?: PodCertificateRequestStatus | Error, uid = request.uid) {
  const calls: ApiRequest[] = [];
  const managedFields = [{ manager: 'signer-b', subresource: 'status' }];
  const transport = {
    async request(call: ApiRequest) {
      calls.push(call);
      if (call.method === 'PATCH' && patch) throw patch;
      if (live instanceof Error) throw live;
      return { status: 200, body: { metadata: { uid, managedFields }, status: live } };
    },
  } as Transport;
  return {
    calls,
    write: () => createStatusWriter(transport, 'signer-a').write(request, issued, AbortSignal.timeout(1000)),
  };
}

const terminal = (type: string, certificateChain?: string): PodCertificateRequestStatus => ({
  conditions: [{ type, status: 'True', reason: type, lastTransitionTime: '2027-01-15T08:00:00Z' }],
  ...(certificateChain !== undefined && { certificateChain }),
});

describe('the answer to a request', () => {
  it('an answer names the request by its UID, has no resourceVersion, and has times in whole seconds', () => {
    assert.deepEqual(JSON.parse(issued.body), {
      metadata: { uid: request.uid },
      status: {
        conditions: [
          {
            type: 'Issued',
            status: 'True',
            reason: 'Issued',
            message: 'done',
            lastTransitionTime: '2027-01-15T08:00:00Z',
          },
        ],
        certificateChain: 'CHAIN',
        notBefore: '2027-01-15T07:58:00Z',
        beginRefreshAt: '2027-01-15T19:58:00Z',
        notAfter: '2027-01-16T07:58:00Z',
      },
    });
  });

  it('a denial has nothing but its condition', () => {
    const denied = prepareAnswer(request, { type: 'Denied', reason: 'R', message: 'M', at: 0 });
    assert.deepEqual(Object.keys(JSON.parse(denied.body).status), ['conditions']);
  });

  it('an answer is one merge PATCH under the field manager of the replica', async () => {
    const { calls, write } = writerFor(undefined);
    assert.deepEqual(await write(), { kind: 'written' });
    assert.equal(calls.length, 1);
    assert.partialDeepStrictEqual(calls[0], {
      method: 'PATCH',
      path: '/apis/certificates.k8s.io/v1/namespaces/shop/podcertificaterequests/req-1/status',
      query: { fieldManager: 'signer-a' },
      contentType: 'application/merge-patch+json',
      body: issued.body,
    });
  });
});

describe('the result of a write', () => {
  const rows: [name: string, ReturnType<typeof writerFor>, expected: Partial<WriteOutcome>][] = [
    ['a 404 that names the object: it is gone', writerFor(refusal(404, { name: 'req-1' })), { kind: 'gone' }],
    ['a plain 404: the version is not served any more', writerFor(refusal(404)), { kind: 'not-served' }],
    ['a 403 waits', writerFor(refusal(403)), { kind: 'forbidden' }],
    ['a 500 is tried again', writerFor(refusal(500)), { kind: 'unavailable', isRefusal: false }],
    [
      'a write without an answer is tried again',
      writerFor(new ApiConnectionError('broken', 'reset')),
      { kind: 'unavailable', detail: 'reset', isRefusal: false },
    ],
    [
      'a 422 on an answered request: done, and known whose answer it is',
      writerFor(refusal(422), terminal('Issued', 'OTHER')),
      { kind: 'answered', by: 'signer-b', certificateChain: 'OTHER' },
    ],
    ['a 422 on an open request is our fault', writerFor(refusal(422), {}), { kind: 'rejected' }],
    [
      'a 422 because we may not sign for the signer is a matter of RBAC',
      writerFor(refusal(422, { causes: [{ reason: 'FieldValueForbidden', field: 'spec.signerName' }] }), {}),
      { kind: 'forbidden' },
    ],
    [
      'a 409 on an open request is tried again, and was not taken',
      writerFor(refusal(409), {}),
      { kind: 'unavailable', isRefusal: true },
    ],
    ...[400, 401, 429].map((status): [string, ReturnType<typeof writerFor>, Partial<WriteOutcome>] => [
      `a ${status} is tried again, and was not taken`,
      writerFor(refusal(status)),
      { kind: 'unavailable', isRefusal: true },
    ]),
    [
      'a 409 because another request has the name now: ours is gone',
      writerFor(refusal(409), {}, 'another-uid'),
      { kind: 'gone' },
    ],
    [
      'a 422 whose request is gone when it is read',
      writerFor(refusal(422), refusal(404, { name: 'req-1' })),
      { kind: 'gone' },
    ],
    [
      'a 422 whose request cannot be read is tried again',
      writerFor(refusal(422), new ApiConnectionError('timeout', 'slow')),
      { kind: 'unavailable', isRefusal: false },
    ],
  ];
  for (const [name, { write }, expected] of rows) {
    it(`the result of a write: ${name}`, async () => assert.partialDeepStrictEqual(await write(), expected));
  }
});
