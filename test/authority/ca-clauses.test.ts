import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { signCa } from '../../signer/authority/sign-ca.ts';
import { checkAuthority } from '../../spiffe/conformance.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
const notAfter = now + 30 * 86_400;
const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-clauses-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function madeRoot(wishes: object) {
  const record = await createAuthority({ id: 'ca-1', trustDomain, now, ...wishes });
  const blocks = decodePem(record.certificate ?? '');
  assert.ok(blocks.ok && blocks.value[0]);
  const read = readCertificate(blocks.value[0].der);
  assert.ok(read.ok);
  return { certificate: read.value, privateKey: createPrivateKey(record.privateKey ?? '') };
}

/** The clauses that a CA certificate does not meet. */
const brokenBy = (certificate: CertificateFacts) =>
  checkAuthority(certificate, trustDomain)
    .filter(({ ok }) => !ok)
    .map(({ level, clause }) => `${level} ${clause}`);

describe('CA certificates that are made here', () => {
  for (const onlyTrustDomain of [false, true]) {
    for (const pathLength of [undefined, 0, 1]) {
      const wishes = { onlyTrustDomain, ...(pathLength !== undefined && { pathLength }) };
      // Name constraints are wanted then, and the standard only advises against them.
      const expected = onlyTrustDomain ? ['should X509-SVID 4.2'] : [];
      it(`a root, an intermediate and a cross-certificate meet every clause with ${JSON.stringify(wishes)}`, async () => {
        const root = await madeRoot({});
        const own = await madeRoot(wishes);
        const key = readSubjectKey(own.certificate.spki);
        assert.ok(key.kind === 'supported');
        const wanted = { ...wishes, key, notAfter, now, trustDomain };
        const intermediate = await signCa(root, wanted);
        const cross = await signCa(root, { ...wanted, namesake: own.certificate });
        for (const each of [own.certificate, intermediate, cross]) assert.deepEqual(brokenBy(each), expected);
        writeFileSync(join(folder, 'root.pem'), encodePem('CERTIFICATE', root.certificate.der));
        for (const each of [intermediate, cross]) {
          writeFileSync(join(folder, 'ca.pem'), encodePem('CERTIFICATE', each.der));
          const words = ['verify', '-x509_strict', '-CAfile', 'root.pem', 'ca.pem'];
          assert.match(execFileSync('openssl', words, { cwd: folder, encoding: 'utf8' }), /: OK\n$/);
        }
      });
    }
  }
});
