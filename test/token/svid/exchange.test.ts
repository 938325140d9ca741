import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describe as descriptionOf } from '../../../signer/observe/checked.ts';
import type { Presented } from '../../../signer/token/caller/credential.ts';
import { readX509Request } from '../../../signer/token/svid/csr-request.ts';
import { readExchange, readShortForm } from '../../../signer/token/svid/exchange.ts';

describe('requests', () => {
  const bare = { authorization: undefined };
  const good =
    'grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t' +
    '&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=a';

  it('requests for tokens are read, with several audiences', () => {
    const value = { credential: { kind: 'token', token: 't' }, audiences: ['a', 'b'] };
    assert.deepEqual(readExchange(`${good}&audience=b`, bare), { ok: true, value });
    const authorization = 'bearer t';
    assert.deepEqual(readShortForm('{"audience":["a","b"]}', { authorization }), { ok: true, value });
  });

  it('a request for a token may name its registration, once, and only by a valid name', () => {
    const authorization = 'Bearer t';
    const named = (read: ReturnType<typeof readExchange>) =>
      read.ok ? (read.value.registration ?? 'none') : read.code;
    const short = (registration: unknown) =>
      readShortForm(JSON.stringify({ audience: 'a', registration }), { authorization });
    const csr = (registration: unknown) => {
      const read = readX509Request(Buffer.from('x'), { authorization }, registration);
      return read.ok ? (read.value.registration ?? 'none') : read.code;
    };
    assert.equal(named(readExchange(good, bare)), 'none');
    assert.equal(named(readExchange(`${good}&registration=web`, bare)), 'web');
    assert.equal(named(readExchange(`${good}&registration=web&registration=db`, bare)), 'ParameterRepeated');
    assert.equal(named(readExchange(`${good}&registration=`, bare)), 'RequestMalformed');
    assert.equal(named(readExchange(`${good}&registration=shop%2Fweb`, bare)), 'RequestMalformed');
    assert.equal(named(short('web.v2')), 'web.v2');
    for (const bad of ['', 'Web', 5, ['web'], {}]) {
      assert.equal(named(short(bad)), 'RequestMalformed');
      assert.equal(csr(bad), 'RequestMalformed');
    }
    assert.deepEqual([csr('web'), csr(undefined)], ['web', 'none']);
  });

  it('requests for tokens have one credential, and not two', () => {
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

  it('an answer to a request for a token never repeats a name that may be a secret', () => {
    for (const name of ['eyJhbGciOiJ9.e30.AA', 'x'.repeat(100), 'A b']) {
      const refused = readExchange(`${good}&${encodeURIComponent(name)}=1`, bare);
      assert.ok(!refused.ok);
      assert.ok(!descriptionOf(refused).includes(name));
    }
  });
});
