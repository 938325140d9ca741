import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { jwtSvid, makeTrustDomain } from './api/workload.ts';

const workload = join(import.meta.dirname, '../../workload');

/** What a program prints. It is one of its own, because an uncaught exception here would fail the test. */
async function linesOf(code: string): Promise<string[]> {
  const args = ['--input-type=module', '-e', code];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  return stdout.trim().split('\n');
}

for (const event of ['update', 'problem']) {
  it(`a source goes on after a listener for ${event} threw, which is an uncaught exception of the application`, async () => {
    const lines = await linesOf(`
      import { once } from 'node:events';
      const { follow } = await import('${workload}/follow.ts');
      process.on('unhandledRejection', () => console.log('unhandled rejection'));
      process.on('uncaughtException', ({ message }) => console.log('uncaught exception:', message));
      let change;
      let count = 0;
      const read = async () => {
        count += 1;
        return { value: count, problems: [new Error('problem ' + count)] };
      };
      const source = await follow((onChange) => { change = onChange; }, read, { pollMs: 60_000 });
      source.events.once('${event}', () => { throw new Error('the listener failed'); });
      const uncaught = once(process, 'uncaughtException');
      change();
      await uncaught;
      const next = once(source.events, '${event}');
      change();
      await next;
      console.log('next value:', source.value > 2);
      await source[Symbol.asyncDispose]();
      console.log('disposed');`);
    assert.deepEqual(lines, ['uncaught exception: the listener failed', 'next value: true', 'disposed']);
  });
}

for (const [event, given] of [
  ['update', 'the new token'],
  ['problem', 'the known token'],
] as const) {
  it(`a JwtSource gives ${given} after a listener for ${event} threw, which is no failure of the issuer`, async () => {
    const domain = await makeTrustDomain('example.org');
    const startMs = Date.now();
    const claims = { sub: 'spiffe://example.org/web', aud: ['api'] };
    const tokenUntil = (seconds: number) =>
      jwtSvid(domain, { ...claims, exp: Math.floor(startMs / 1000) + seconds });
    const answers = [tokenUntil(300), ...(event === 'update' ? [tokenUntil(900)] : [])];
    const lines = await linesOf(`
      import { once } from 'node:events';
      const { cacheTokens } = await import('${workload}/jwt-cache.ts');
      process.on('uncaughtException', ({ message }) => console.log('uncaught exception:', message));
      const answers = ${JSON.stringify(answers)};
      let requests = 0;
      const ask = async () => {
        const token = answers[requests];
        requests += 1;
        if (token === undefined) throw new Error('the issuer refuses');
        return { token };
      };
      let nowMs = ${startMs};
      const tokens = cacheTokens(ask, 'the issuer', { now: () => nowMs });
      await tokens.get('api');
      tokens.events.once('${event}', () => { throw new Error('the listener failed'); });
      const uncaught = once(process, 'uncaughtException');
      nowMs += 200_000;
      const { token } = await tokens.get('api');
      await uncaught;
      console.log(token === answers[1] ? 'the new token' : 'the known token');
      const again = await tokens.get('api');
      console.log('the same again:', again.token === token, requests);`);
    assert.deepEqual(lines, ['uncaught exception: the listener failed', given, 'the same again: true 2']);
  });
}

it('the bundles of a token endpoint are read again after a listener threw', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-follow-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const tokenFile = join(folder, 'token');
  const lines = await linesOf(`
    import { once } from 'node:events';
    import { writeFileSync } from 'node:fs';
    import { mock } from 'node:test';
    const { followEndpointBundles } = await import('${workload}/api/endpoint-bundles.ts');
    mock.timers.enable({ apis: ['setTimeout'] });
    process.on('uncaughtException', ({ message }) => console.log('uncaught exception:', message));
    const own = { svid: { id: { trustDomain: 'example.org' } }, bundles: new Map() };
    const needs = { endpoint: new URL('https://tokens'), own, tokenFile: '${tokenFile}', env: {} };
    const { events } = followEndpointBundles(needs, new AbortController().signal);
    events.once('problem', () => { throw new Error('the listener failed'); });
    await once(process, 'uncaughtException');
    // Until the timer of the next read is set.
    await new Promise(setImmediate);
    // The same problem would not be reported again.
    writeFileSync('${tokenFile}', 'no token');
    const next = once(events, 'problem');
    mock.timers.tick(5_000);
    const [{ message }] = await next;
    console.log(message);`);
  assert.equal(lines[0], 'uncaught exception: the listener failed');
  assert.equal(lines[1], `tokens: ${tokenFile} holds no ServiceAccount token`);
});
