import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { readApiServerFacts } from '../../../signer/token/caller/api-server.ts';
import { createScriptedApi } from '../../kube/scripted-api.ts';
import { signed } from './bad-tokens.ts';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ownToken = (aud: unknown) => signed(privateKey, { alg: 'ES256', kid: 'k' }, { aud });

function read(options: {
  audience: string;
  x509?: string;
  issuer?: unknown;
  own?: string;
  further?: string[];
}) {
  const api = createScriptedApi();
  api.answer = () => ({ status: 200, body: { issuer: options.issuer ?? 'https://cluster.example' } });
  return readApiServerFacts({
    transport: api.transport,
    authorization: async () => options.own,
    furtherIssuers: options.further ?? [],
    audiences: { token: options.audience, x509: options.x509 ?? 'ours for certificates' },
  });
}

describe('the facts of the API server', () => {
  it('the facts of the API server are its issuer, the issuers that were added, and the audiences of our own token', async () => {
    const facts = await read({
      audience: 'ours',
      own: `Bearer ${ownToken(['https://cluster.example', 'api'])}`,
      further: ['https://old.example'],
    });
    assert.deepEqual([...facts.issuers], ['https://cluster.example', 'https://old.example']);
    assert.deepEqual([...facts.audiences], ['https://cluster.example', 'https://old.example', 'api']);
  });

  it('the facts of the API server are found without a token of our own, for example with a client certificate', async () => {
    for (const own of [undefined, 'Basic YTpi', 'Bearer opaque']) {
      const facts = await read({ audience: 'ours', ...(own !== undefined && { own }) });
      assert.deepEqual([...facts.audiences], ['https://cluster.example']);
    }
  });

  it('the facts of the API server are those of the settings if it publishes none', async () => {
    const api = createScriptedApi();
    api.answer = () => ({ status: 404 });
    const needs = {
      transport: api.transport,
      authorization: async () => undefined,
      audiences: { token: 'ours', x509: 'other' },
    };
    const facts = await readApiServerFacts({ ...needs, furtherIssuers: ['kubernetes'] });
    assert.deepEqual([...facts.issuers], ['kubernetes']);
    await assert.rejects(readApiServerFacts({ ...needs, furtherIssuers: [] }), { code: 'API_NOT_SERVED' });
  });

  const clashes: [string, Parameters<typeof read>[0], setting?: string][] = [
    ['the issuer', { audience: 'https://cluster.example' }],
    ['an issuer that was added', { audience: 'https://old.example', further: ['https://old.example'] }],
    ['an audience of our own token', { audience: 'api', own: `Bearer ${ownToken(['x', 'api'])}` }],
    ['the only audience of our own token', { audience: 'api', own: `Bearer ${ownToken('api')}` }],
    ['the issuer', { audience: 'ours', x509: 'https://cluster.example' }, 'x509Audience'],
  ];
  for (const [name, options, setting = 'tokenAudience'] of clashes) {
    it(`${name} is refused as our ${setting}`, async () => {
      await assert.rejects(read(options), {
        code: 'CONFIG_INVALID',
        message: new RegExp(`^${setting}: .* choose another$`),
      });
    });
  }
});
