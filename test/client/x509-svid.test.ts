import 'reflect-metadata';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { readProvenCsrKey } from '../../spiffe/pki/csr.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import type { SupportedKey } from '../../spiffe/pki/spki.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { makeKey, supportedKey } from '../spiffe/pki/keys.ts';
import { run } from '../tools/run.ts';

const other = supportedKey(makeKey('ECDSA P-256').spki);

/** A token endpoint that gives what a test wants: ours would give only what is right. */
describe('`kubespiffe token --x509` at an endpoint with faults', () => {
  let server: Server;
  let url: string;
  let dir: string;
  let give: (key: SupportedKey) => Promise<object | string>;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kubespiffe-certify-'));
    const web = await webCredentials();
    writeFileSync(join(dir, 'roots.pem'), web.cert);
    server = createServer(web, async (request, response) => {
      const key = readProvenCsrKey(await buffer(request));
      assert.equal(key.kind, 'supported');
      const answer = await give(key as SupportedKey);
      response.setHeader('content-type', 'application/json');
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/x509-svid`;
  });
  after(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  const certify = () =>
    run(['token', '--endpoint', url, '--roots', join(dir, 'roots.pem'), '--x509', join(dir, 'svid')], {
      input: 'a.b.c',
    });

  async function svid(key: SupportedKey, different: { roots?: string; id?: string } = {}): Promise<object> {
    const ca = await makeCa();
    const id = makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']);
    assert.ok(id.ok);
    const now = Math.floor(Date.now() / 1000);
    const { chainPem } = await issueLeaf({
      authority: authorityOf(ca),
      profile: svidProfile,
      subject: spiffeSubject(id.value),
      key,
      validity: { notBefore: now - 60, notAfter: now + 600 },
      serial: makeSerial(randomBytes),
    });
    return {
      spiffe_id: different.id ?? id.value.uri,
      certificate_chain: chainPem,
      trust_bundle: different.roots ?? ca.pem,
      expires_at: now + 600,
      refresh_at: now + 300,
    };
  }

  it('kubespiffe token --x509 accepts a correct answer', async () => {
    give = (key) => svid(key);
    const { code, stderr } = await certify();
    assert.equal(code, 0, stderr);
    rmSync(join(dir, 'svid'), { recursive: true });
  });

  const wrong: [name: string, give: typeof give, said: RegExp][] = [
    ['a certificate for another key', () => svid(other), /certificate for another key/],
    [
      'another SPIFFE ID than it names',
      (key) => svid(key, { id: 'spiffe://example.org/a' }),
      /not an X509-SVID/,
    ],
    [
      'roots that have not signed it',
      async (key) => svid(key, { roots: (await makeCa()).pem }),
      /none of its roots has signed/,
    ],
    ['no roots', (key) => svid(key, { roots: '' }), /none of its roots has signed/],
    [
      'a certificate that cannot be read',
      async () => ({ ...(await svid(other)), certificate_chain: 'x' }),
      /did not answer/,
    ],
    ['no certificate', async () => ({ access_token: 'a.b.c' }), /did not answer with certificates/],
    ['a text that is not JSON', async () => 'welcome', /did not answer with certificates/],
  ];
  for (const [name, answer, said] of wrong) {
    it(`kubespiffe token --x509 refuses ${name}, and writes nothing`, async () => {
      give = answer;
      const { code, stderr } = await certify();
      assert.equal(code, 1);
      assert.match(stderr, said);
      assert.equal(existsSync(join(dir, 'svid')), false);
    });
  }
});
