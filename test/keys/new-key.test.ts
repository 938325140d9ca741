import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readAuthority } from '../../signer/authority/authority.ts';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { readJwtAuthority } from '../../signer/authority/jwt-authority.ts';
import { createRequested } from '../../signer/authority/request.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { keysOf, openNewKey } from '../../signer/keys/new-key.ts';
import { pkcs11Opener } from '../../signer/keys/pkcs11.ts';
import { readProvenCsrKey } from '../../spiffe/pki/csr.ts';
import { soleBlock } from '../../spiffe/pki/pem.ts';
import { makeSoftHsm, type SoftHsm } from './soft-hsm.ts';

const now = Math.floor(Date.now() / 1000);
const trustDomain = 'example.org';
const pairs = {
  'ECDSA P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ECDSA P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'RSA 3072': generateKeyPairSync('rsa', { modulusLength: 3072 }),
};
const labelOf = (name: string) => name.replace(/\W/g, '-');

describe('a new authority with its key in a PKCS#11 token', () => {
  let hsm: SoftHsm;
  before(() => {
    hsm = makeSoftHsm();
    for (const [index, [name, { privateKey }]] of Object.entries(pairs).entries()) {
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      hsm.put(labelOf(name), pem, `0${index + 1}`);
    }
  });
  after(() => hsm.remove());

  const open = (name: string) =>
    openNewKey(`pkcs11:token=kubespiffe;object=${labelOf(name)}`, () =>
      pkcs11Opener({ module: hsm.module, pinFile: hsm.pinFile, concurrency: 1, env: process.env }),
    );

  for (const name of Object.keys(pairs)) {
    it(`a new PKCS#11 authority of type ${name} has a root that OpenSSL verifies strictly, and no private key`, async () => {
      const key = await open(name);
      const record = await createAuthority({ id: 'ca-1', trustDomain, now, key });
      key.close();
      assert.equal(record.privateKey, undefined);
      const read = readAuthority(record, 'authority', trustDomain);
      assert.ok(read.ok, read.ok ? '' : read.problem.message);
      assert.equal(read.authority.keyType, name);
      const file = join(hsm.folder, 'root.pem');
      writeFileSync(file, record.certificate ?? '');
      const verified = execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', file, file]).toString();
      assert.match(verified, /: OK/);
    });
  }

  it('a PKCS#11 key does not sign for an authority whose certificate is for another key', async () => {
    const key = await open('ECDSA P-384');
    const { privateKey: _, ...other } = await createAuthority({ id: 'ca-1', trustDomain, now });
    const read = () => readAuthority({ ...other, keyRef: key.keyRef }, 'authority', trustDomain, keysOf(key));
    assert.throws(read, { code: 'KEY_UNAVAILABLE', message: /is another key than that of the certificate/ });
    key.close();
  });

  for (const name of Object.keys(pairs)) {
    it(`a new PKCS#11 authority of type ${name} asks another CA with a request that its key has signed`, async () => {
      const key = await open(name);
      const record = await createRequested({ id: 'ca-1', trustDomain, now, pathLength: 0, key });
      key.close();
      assert.deepEqual([record.privateKey, record.keyRef], [undefined, key.keyRef]);
      const der = soleBlock(record.request ?? '', 'CERTIFICATE REQUEST');
      const proven = readProvenCsrKey(der ?? new Uint8Array());
      assert.ok(proven.kind === 'supported', proven.kind);
      const spki = pairs[name as keyof typeof pairs].publicKey.export({ format: 'der', type: 'spki' });
      assert.deepEqual(Buffer.from(proven.spki), spki);
      const own = await createAuthority({ id: 'ca-0', trustDomain, now });
      assert.ok(writablePool(newPool(trustDomain, own, record), now).ok);
    });
  }

  it('a new PKCS#11 authority for JWT-SVIDs has the public half, and no private key', async () => {
    const key = await open('ECDSA P-256');
    const record = await createJwtAuthority({ key: 'es256', now, keptKey: key });
    key.close();
    assert.deepEqual([record.privateKey, record.keyRef], [undefined, key.keyRef]);
    const read = readJwtAuthority(record, 'authority');
    assert.ok(read.ok && read.authority.publicKey.equals(pairs['ECDSA P-256'].publicKey));
  });

  it('a new PKCS#11 authority is not made without its key, or with an invalid reference', async () => {
    await assert.rejects(open('other'), {
      code: 'KEY_UNAVAILABLE',
      message: /no private key with object=other/,
    });
    await assert.rejects(
      openNewKey('ca-1', () => assert.fail('nothing is opened')),
      { code: 'USAGE', message: /starts with pkcs11:/ },
    );
  });
});
