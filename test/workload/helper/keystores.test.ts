import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { run } from '../../tools/run.ts';
import { type Credentials, credentialsFor, newVolume } from '../credentials.ts';
import { openWorkshop, type Workshop } from './helper.ts';

const webId = 'spiffe://example.org/ns/shop/sa/web';
const beyondAscii = 'pässwörd€𝄞';

let shop: Workshop;
let source: string;
let root: TestCa;
let partner: TestCa;
let credentials: Credentials;

before(async () => {
  shop = openWorkshop();
  root = await makeCa();
  partner = await makeCa({ trustDomain: 'partner.example' });
  const intermediate = await makeCa({ issuer: root, subject: 'O=example.org, CN=intermediate' });
  credentials = await credentialsFor(webId, [intermediate, root]);
  source = newVolume(shop.folder, {
    'credentials.pem': credentials.pem,
    'roots.pem': root.pem,
    'p.pem': partner.pem,
  });
  writeFileSync(join(shop.folder, 'password'), '\ufefffrom-a-file\r\nsecond line\n');
});
after(() => shop[Symbol.dispose]());

/** Writes a keystore and a truststore with these keys for the password, and returns their folder. */
let count = 0;
async function write(password: string): Promise<string> {
  const out = join(shop.folder, `out-${++count}`);
  const { code, stderr } = await shop.once(`
source: { credentials: ${source}, bundles: { partner.example: p.pem } }
folder: ${out}
files:
  - { name: keystore.jks, content: keystore, ${password} }
  - { name: truststore.jks, content: truststore, ${password} }
  - { name: federated.p12, content: truststore, federated: true, ${password} }
`);
  assert.equal(code, 0, stderr);
  return out;
}

const keytool = (args: readonly string[], password: string) =>
  run(['-J-Duser.language=en', ...args, '-storepass:env', 'STOREPASS'], {
    file: 'keytool',
    env: { STOREPASS: password, LC_ALL: 'C.UTF-8' },
  });
const openssl = (file: string, password: string) =>
  run(['pkcs12', '-in', file, '-passin', 'env:STOREPASS', '-nodes', '-nokeys'], {
    file: 'openssl',
    env: { STOREPASS: password },
  });

describe('keystores of kubespiffe helper', () => {
  it('keystores of the helper are read by keytool, also as JKS, with roots as trusted certificates', async () => {
    const out = await write('password: changeit');
    const list = (name: string, type: string) =>
      keytool(['-list', '-v', '-storetype', type, '-keystore', join(out, name)], 'changeit');
    const [keystore, truststore, federated] = await Promise.all([
      list('keystore.jks', 'JKS'),
      list('truststore.jks', 'JKS'),
      list('federated.p12', 'PKCS12'),
    ]);
    assert.match(keystore.stdout, /Your keystore contains 1 entry/, keystore.stdout);
    assert.match(
      keystore.stdout,
      /Alias name: spiffe\n(.*\n)?Entry type: PrivateKeyEntry\nCertificate chain length: 2/,
    );
    assert.ok(keystore.stdout.includes(new X509Certificate(credentials.chainPem).fingerprint256));
    assert.match(truststore.stdout, /Alias name: example\.org-1\n(.*\n)?Entry type: trustedCertEntry/);
    assert.ok(truststore.stdout.includes(new X509Certificate(root.pem).fingerprint256));
    assert.deepEqual([...federated.stdout.matchAll(/Alias name: (.*)/g)].map(([, alias]) => alias).sort(), [
      'example.org-1',
      'partner.example-1',
    ]);
    assert.equal(statSync(join(out, 'keystore.jks')).mode & 0o777, 0o600);
    assert.equal(statSync(join(out, 'truststore.jks')).mode & 0o777, 0o644);
  });

  it('the password of a keystore is the first line of its file, without a byte order mark', async () => {
    const out = await write(`passwordFile: ${join(shop.folder, 'password')}`);
    const keystore = join(out, 'keystore.jks');
    assert.equal((await openssl(keystore, 'from-a-file')).code, 0);
    assert.match((await openssl(keystore, 'another')).stderr, /invalid password/);
  });

  it('a keystore of the helper holds the key for Java, and OpenSSL verifies a request that Java signs with it', async () => {
    const out = await write('password: changeit');
    const request = join(shop.folder, 'request.pem');
    const made = await keytool(
      ['-certreq', '-alias', 'spiffe', '-file', request, '-keystore', join(out, 'keystore.jks')],
      'changeit',
    );
    assert.equal(made.code, 0, made.stdout + made.stderr);
    const verified = await run(['req', '-in', request, '-verify', '-noout', '-pubkey'], { file: 'openssl' });
    assert.match(verified.stdout + verified.stderr, /verify OK/);
    const publicKey = new X509Certificate(credentials.chainPem).publicKey.export({
      type: 'spki',
      format: 'pem',
    });
    assert.ok(verified.stdout.includes(publicKey as string));
  });

  it('a keystore with a password beyond ASCII is read by OpenSSL, although Java refuses such a password', async () => {
    const out = await write(`password: "${beyondAscii}"`);
    const { code, stdout, stderr } = await openssl(join(out, 'keystore.jks'), beyondAscii);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /friendlyName: spiffe/);
    const java = await keytool(
      ['-list', '-keystore', join(out, 'keystore.jks'), '-J-Dsun.jnu.encoding=UTF-8'],
      beyondAscii,
    );
    assert.match(java.stdout, /Password is not ASCII/);
  });
});
