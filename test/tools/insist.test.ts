import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import { CliError } from '../../tools/errors.ts';
import { insist } from '../../tools/pool/pool-change.ts';
import { waiterFor } from '../../tools/wait.ts';

const answered = (status: number) => {
  const request = { method: 'PUT', path: '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool' };
  const cause = new ApiStatusError(request, { status, body: undefined, retryAfterMs: undefined });
  return new CliError('POOL_INVALID', 'it was not written', 'run the command again', { cause });
};

/** A change whose first writes fail. @returns how often it was tried, and what it ended with. */
async function insisted(failures: Error[]): Promise<[tries: number, end: unknown]> {
  let tries = 0;
  const change = async () => {
    tries += 1;
    const failure = failures[tries - 1];
    if (failure) throw failure;
    return 'written';
  };
  const end = await insist(change).catch((error) => error);
  return [tries, end];
}

describe('a change that must not be lost', () => {
  it('a change of the pool is made again while others change the pool', async () => {
    assert.deepEqual(await insisted([answered(409), answered(409)]), [3, 'written']);
  });

  it('a change of the pool is not made again after another error', async () => {
    for (const error of [answered(403), new CliError('POOL_INVALID', 'there is no authority ca-9')])
      assert.deepEqual(await insisted([error]), [1, error]);
  });

  it('a change of the pool is given up after ten attempts', async () => {
    const always = Array.from({ length: 20 }, () => answered(409));
    assert.deepEqual(await insisted(always), [10, always[9]]);
  });
});

it('a wait reports its reason when that is new', async () => {
  const said: string[] = [];
  const waited: number[] = [];
  const waitFor = waiterFor({ err: (text) => said.push(text) }, async (seconds) => {
    waited.push(seconds);
  });
  for (const what of ['a', 'a', 'b', 'b']) await waitFor(what);
  assert.deepEqual(said, ['waiting: a\n', 'waiting: b\n']);
  assert.equal(waited.length, 4);
});
