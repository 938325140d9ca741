import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { passwordOf } from '../../../workload/helper/password.ts';
import { encodePkcs12, type Pkcs12Content } from '../../../workload/helper/pkcs12.ts';
import { makeCa } from '../../spiffe/pki/authorities.ts';
import { subjectKeyNames } from '../../spiffe/pki/keys.ts';

/** What OpenSSL says of a PKCS#12 file. */
async function read(content: Pkcs12Content, password: string, asked = password) {
  const input = await encodePkcs12(content, password);
  const args = ['pkcs12', '-info', '-nodes', '-passin', 'env:STOREPASS'];
  const env = { PATH: process.env.PATH, STOREPASS: asked };
  return spawnSync('openssl', args, { input, env, encoding: 'utf8' });
}

describe('a PKCS#12 file', () => {
  // Making an RSA key of 4096 bits takes seconds.
  for (const keyName of subjectKeyNames.filter((name) => name !== 'RSA 4096')) {
    it(`a PKCS#12 file gives OpenSSL the key of type ${keyName}, encrypted by AES-256, and its certificate`, async () => {
      const ca = await makeCa({ keyName });
      const { privateKey } = ca.key;
      const { stdout, stderr } = await read(
        { key: { alias: 'a', privateKey, chain: [ca.facts.der] } },
        'changeit',
      );
      assert.match(stderr, /MAC: sha256, Iteration 10000/);
      assert.match(stderr, /PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256/);
      assert.ok(stdout.includes(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string), stdout);
      assert.ok(stdout.includes(ca.pem));
    });
  }

  for (const [what, password] of [
    ['1024 letters of one byte', 'a'.repeat(1_024)],
    ['512 letters of two bytes', 'é'.repeat(512)],
  ] as const) {
    it(`a PKCS#12 file with the longest password, ${what}, gives OpenSSL its key`, async () => {
      assert.equal(passwordOf(password), password);
      assert.equal(passwordOf(`${password}a`), undefined);
      const { privateKey } = (await makeCa()).key;
      const { stdout, stderr } = await read({ key: { alias: 'a', privateKey, chain: [] } }, password);
      assert.ok(stdout.includes(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string), stderr);
    });
  }

  it('a PKCS#12 file with any password is read by OpenSSL with that password, and not with another', async () => {
    const ca = await makeCa();
    const content = {
      key: { alias: 'schlüssel', privateKey: ca.key.privateKey, chain: [ca.facts.der] },
      trusted: [{ alias: 'example.org-1', certificate: ca.facts.der }],
    };
    const passwords = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 100 })
      .filter((text) => !text.includes('\0'));
    await fc.assert(
      fc.asyncProperty(passwords, async (password) => {
        assert.equal((await read(content, password)).status, 0, JSON.stringify(password));
        assert.match((await read(content, password, `${password}x`)).stderr, /invalid password/);
      }),
      { numRuns: 20 },
    );
  });
});
