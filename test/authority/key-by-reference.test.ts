import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool, writePoolDocument } from '../../signer/authority/document.ts';
import { jwtSigningAt, signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import { inFull } from '../../signer/authority/problem.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import type { KeysByRef } from '../../signer/keys/remote-keys.ts';

const trustDomain = 'example.org';
const now = 1_800_000_000;
const keyRef = 'pkcs11:token=kubespiffe;object=ca-1';
const inPool = await createAuthority({ id: 'ca-1', trustDomain, now });
const jwtInPool = await createJwtAuthority({ key: 'es256', now });
const ed25519 = await createAuthority({ id: 'ca-1', trustDomain, now, keyType: 'ed25519' });
const without = ({ privateKey: _, ...rest }: AuthorityRecord): AuthorityRecord => rest;
const ca = { ...without(inPool), keyRef };
const jwt = { ...without(jwtInPool), keyRef: 'pkcs11:token=kubespiffe;object=jwt-1' };

function compile(authorities: readonly unknown[], keysByRef?: KeysByRef) {
  const written = writePoolDocument({
    ...newPool(trustDomain),
    authorities: authorities as AuthorityRecord[],
  });
  const read = readPoolDocument(written);
  return read.ok ? compilePool(read.document, trustDomain, keysByRef) : read;
}

/** Keys that say what is asked of them. */
function keysThat(problem: string | undefined) {
  const asked: { uri: string; publicKey: KeyObject; isWanted: boolean }[] = [];
  const keysByRef: KeysByRef = ({ uri }, publicKey, { signature }, isWanted) => {
    asked.push({ uri, publicKey, isWanted });
    return {
      algorithmDer: signature.encodings[0],
      sign: () => Promise.resolve(Buffer.from(uri)),
      problem: () => problem,
    };
  };
  return { asked, keysByRef };
}

describe('an authority with a keyRef', () => {
  it('a JWT authority with a keyRef may have signed before, because its key may be old', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = { keyRef: jwt.keyRef, publicKey, sign: async () => new Uint8Array(), close: () => {} };
    const made = async (outside: object) => {
      const change = await prepareAuthority(newPool(trustDomain, inPool), {
        ...{ kind: 'JWT-ES256', now },
        ...outside,
      });
      assert.ok(change.ok, JSON.stringify(change));
      return change.made;
    };
    assert.deepEqual(await made({ key }), []);
    assert.equal((await made({}))?.length, 1);
  });

  it('an authority with a keyRef signs certificates and tokens with the named key, which fits its public key', async () => {
    const { asked, keysByRef } = keysThat(undefined);
    const compiled = compile([ca, jwt], keysByRef);
    assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
    const [x509, token] = [
      signingAuthorityAt(compiled.pool, now, 390),
      jwtSigningAt(compiled.pool, 'ES256', now, 900),
    ];
    assert.ok(x509.ok && token.ok);
    assert.equal(String(await x509.authority.signingAuthority.signer.sign(Buffer.alloc(1))), ca.keyRef);
    assert.equal(String(await token.authority.signingKey.sign(Buffer.alloc(1))), jwt.keyRef);
    const [, forJwt] = asked;
    assert.ok(forJwt?.publicKey.equals(token.authority.publicKey));
  });

  it('an authority with a keyRef signs nothing while its key cannot be used, and only operators get the reason', () => {
    const compiled = compile([ca, jwt], keysThat('the token was removed').keysByRef);
    assert.ok(compiled.ok);
    for (const signable of [
      signingAuthorityAt(compiled.pool, now, 390),
      jwtSigningAt(compiled.pool, 'ES256', now, 900),
    ]) {
      assert.ok(!signable.ok);
      assert.equal(signable.problem.reason, 'KeyUnavailable');
      const { message } = signable.problem;
      assert.match(message, /authorities\[[01]\]\.keyRef: .* cannot be used now;/);
      assert.doesNotMatch(message, /removed/);
      assert.equal(inFull(signable.problem), `${message} (the token was removed)`);
    }
  });

  it('the key of a keyRef is opened when it signs or may have to soon, and not when it is tainted or retiring', () => {
    for (const [change, isWanted] of [
      [{}, true],
      [{ state: 'trusted' }, true],
      [{ state: 'retiring' }, false],
      [{ tainted: true }, false],
    ] as const) {
      const { asked, keysByRef } = keysThat(undefined);
      assert.ok(compile([{ ...ca, ...change }], keysByRef).ok);
      assert.deepEqual([asked[0]?.isWanted], [isWanted]);
    }
  });

  it('an authority with a keyRef is read by programs that use no keys', () => {
    assert.ok(compile([ca, jwt]).ok);
  });

  for (const [what, record, field, says] of [
    ['stands beside a private key', { ...inPool, keyRef }, 'keyRef', /beside a privateKey/],
    ['cannot be read', { ...ca, keyRef: inPool.privateKey }, 'keyRef', /not a reference to a key/],
    ['is no text', { ...ca, keyRef: 7 }, 'keyRef', /must be a reference to a key/],
    ['names a module', { ...ca, keyRef: `${keyRef}?module-path=/tmp/a.so` }, 'keyRef', /named by settings/],
    ['is that of an Ed25519 CA', { ...without(ed25519), keyRef }, 'keyRef', /Ed25519/],
    ['has no public key beside it', { ...jwt, publicKey: undefined }, 'publicKey', /is missing/],
  ] as const) {
    it(`a keyRef is refused if it ${what}, at the field and without a part of it`, () => {
      const compiled = compile([record]);
      assert.ok(!compiled.ok);
      assert.equal(compiled.problem.field, `pool.authorities[0].${field}`);
      assert.match(compiled.problem.message, says);
      assert.doesNotMatch(compiled.problem.message, /BEGIN PRIVATE|tmp/);
    });
  }
});
