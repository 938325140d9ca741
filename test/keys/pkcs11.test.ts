import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, hash, verify } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';
import type { OpenKey } from '../../signer/keys/open-key.ts';
import { pkcs11Opener } from '../../signer/keys/pkcs11.ts';
import { type SignatureAlgorithm, signatureAlgorithms } from '../../spiffe/pki/algorithms.ts';
import { makeSoftHsm, type SoftHsm } from './soft-hsm.ts';

const pkcs8 = { format: 'pem', type: 'pkcs8' } as const;
const pairs = {
  'ecdsa-p256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ecdsa-p384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'rsa-3072': generateKeyPairSync('rsa', { modulusLength: 3072 }),
};
const algorithms: Record<keyof typeof pairs, SignatureAlgorithm> = {
  'ecdsa-p256': signatureAlgorithms.ES256,
  'ecdsa-p384': signatureAlgorithms.ES384,
  'rsa-3072': signatureAlgorithms.RS256,
};
const uri = 'pkcs11:token=kubespiffe;object=ecdsa-p256';
const names = Object.keys(pairs) as (keyof typeof pairs)[];

let hsm: SoftHsm;
before(() => {
  hsm = makeSoftHsm();
  for (const [index, name] of names.entries()) {
    hsm.put(name, pairs[name].privateKey.export(pkcs8).toString(), `0${index + 1}`);
  }
});
after(() => hsm.remove());

function refOf(uri: string) {
  const ref = parseKeyRef(uri);
  assert.ok(ref.ok, ref.ok ? '' : ref.reason);
  return ref.value;
}

const opener = (changes: Partial<Parameters<typeof pkcs11Opener>[0]> = {}) =>
  pkcs11Opener({ module: hsm.module, pinFile: hsm.pinFile, concurrency: 4, env: process.env, ...changes });

const open = (uri: string, by = opener()) => by(refOf(uri), new AbortController().signal);

async function using(key: Promise<OpenKey>, use: (key: OpenKey) => Promise<void>): Promise<void> {
  const opened = await key;
  try {
    await use(opened);
  } finally {
    opened.close();
  }
}

describe('a key in a PKCS#11 token', () => {
  for (const name of names) {
    it(`a PKCS#11 key of type ${name} signs what its public half verifies, many at once`, async () => {
      await using(open(`pkcs11:token=kubespiffe;object=${name}`), async (key) => {
        const { publicKey } = pairs[name];
        assert.ok((await key.publicKey()).equals(publicKey));
        const algorithm = algorithms[name];
        const digestName = algorithm.digest ?? 'sha256';
        const contents = Array.from({ length: 4 }, (_, index) => Buffer.from(`content ${index}`));
        const signatures = await Promise.all(
          contents.map((content) => key.sign(hash(digestName, content, 'buffer'), algorithm)),
        );
        contents.forEach((content, index) => {
          assert.ok(verify(digestName, content, publicKey, signatures[index] ?? Buffer.alloc(0)));
        });
      });
    });
  }

  it('a PKCS#11 key is found by its id alone', async () => {
    await using(open('pkcs11:token=kubespiffe;id=%02'), async (key) => {
      assert.ok((await key.publicKey()).equals(createPublicKey(pairs['ecdsa-p384'].privateKey)));
    });
  });
});

describe('failures to open a key of a PKCS#11 token', () => {
  for (const [what, uri, says] of [
    ['there is no such token', 'pkcs11:token=other;object=ecdsa-p256', /no token with token=other/],
    ['the token has another serial number', 'pkcs11:serial=1;object=ecdsa-p256', /no token with serial=1/],
    ['there is no such key', 'pkcs11:token=kubespiffe;object=other', /no private key with object=other/],
    [
      'the id is that of another key',
      'pkcs11:token=kubespiffe;object=ecdsa-p256;id=%02',
      /object=ecdsa-p256;id=02/,
    ],
  ] as const) {
    it(`opening a key fails if ${what}`, () => assert.rejects(open(uri), says));
  }

  it('opening a key fails if two keys have the name', async () => {
    const twin = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(pkcs8).toString();
    hsm.put('twin', twin, '0a');
    hsm.put(
      'twin',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(pkcs8).toString(),
      '0b',
    );
    await assert.rejects(
      open('pkcs11:token=kubespiffe;object=twin'),
      /more than one private key .*name it by id/,
    );
    await using(open('pkcs11:token=kubespiffe;object=twin;id=%0B'), async (key) => {
      assert.ok(await key.publicKey());
    });
  });

  it('opening a key fails if the module does not exist, or is not a module', async () => {
    await assert.rejects(open(uri, opener({ module: '/nowhere.so' })), /nowhere\.so/);
    await assert.rejects(open(uri, opener({ module: undefined })), /setting pkcs11Module is not set/);
  });

  it('opening a key fails without its PIN: the file is missing or empty, or the token needs one', async () => {
    await assert.rejects(
      open(uri, opener({ pinFile: '/nowhere' })),
      /\/nowhere of pkcs11PinFile cannot be read \(ENOENT\)/,
    );
    hsm.writePin('');
    await assert.rejects(open(uri), /holds no PIN/);
    hsm.writePin(hsm.pin);
    await assert.rejects(open(uri, opener({ pinFile: undefined })), /no private key with object=ecdsa-p256/);
  });

  it('opening a key fails if the PIN is wrong: it is tried once, and another one as soon as the file has it', async () => {
    const by = opener();
    hsm.writePin('11111');
    await assert.rejects(open(uri, by), /the token refuses the PIN \(CKR_PIN_INCORRECT\)/);
    await assert.rejects(open(uri, by), /has refused the PIN .* not tried again/);
    hsm.writePin(hsm.pin);
    await using(open(uri, by), async (key) => assert.ok(await key.publicKey()));
  });

  it('opening several keys of a token at once tries a wrong PIN once, and opens them all with the right one', async () => {
    const by = opener();
    // One token under three names.
    const serial = hsm.serial();
    const [first, second, third] = names;
    const refs = [
      `pkcs11:token=kubespiffe;object=${first}`,
      `pkcs11:serial=${serial};object=${second}`,
      `pkcs11:serial=${serial};token=kubespiffe;object=${third}`,
    ];
    hsm.writePin('11111');
    const outcomes = await Promise.allSettled(refs.map((ref) => open(ref, by)));
    const reasons = outcomes.map((each) => (each.status === 'rejected' ? each.reason.message : 'open'));
    assert.equal(reasons.filter((reason) => /CKR_PIN_INCORRECT/.test(reason)).length, 1, reasons.join());
    assert.equal(reasons.filter((reason) => /has refused the PIN/.test(reason)).length, refs.length - 1);
    hsm.writePin(hsm.pin);
    const keys = await Promise.all(refs.map((ref) => open(ref, by)));
    for (const key of keys) key.close();
  });

  it('opening a key fails at its turn if it was cancelled meanwhile', async () => {
    const by = opener();
    const giveUp = new AbortController();
    const first = open(uri, by);
    const second = by(refOf(uri), giveUp.signal);
    giveUp.abort();
    await assert.rejects(second, { name: 'AbortError' });
    await using(first, async (key) => assert.ok(await key.publicKey()));
  });

  it('opening a key fails if the token was removed, and it opens again when it is back', async () => {
    const [here, away] = [join(hsm.folder, 'tokens'), join(hsm.folder, 'away')];
    renameSync(here, away);
    await assert.rejects(open(uri), /no token with token=kubespiffe|CKR_/);
    renameSync(away, here);
    await using(open(uri), async (key) => assert.ok(await key.publicKey()));
  });

  it('opening a key fails if the PIN is locked', async () => {
    hsm.setMood('locked');
    await assert.rejects(open(uri), /the PIN of the token is locked.*CKR_PIN_LOCKED/);
    hsm.setMood('well');
  });
});

describe('failures of a signature by a PKCS#11 token', () => {
  const digest = hash('sha256', 'content', 'buffer');
  for (const [mood, what, says] of [
    ['removed', 'the token is removed', /the token was removed \(CKR_DEVICE_REMOVED\)/],
    ['crashes', 'the module crashes', /the process of the PKCS#11 module ended \(SIGSEGV\)/],
  ] as const) {
    it(`only that signature fails when ${what}`, async () => {
      await using(open(uri), async (key) => {
        await key.sign(digest, signatureAlgorithms.ES256);
        hsm.setMood(mood);
        await assert.rejects(key.sign(digest, signatureAlgorithms.ES256), says);
        hsm.setMood('well');
      });
    });
  }

  it('a signature fails when the module hangs and the key is closed', async () => {
    const key = await open(uri);
    hsm.setMood('hangs');
    const signing = assert.rejects(key.sign(digest, signatureAlgorithms.ES256), /the key was closed/);
    key.close();
    await signing;
    hsm.setMood('well');
  });
});

it('a key in a PKCS#11 token is found among 10,000 objects', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  hsm.fill('filler', privateKey.export(pkcs8).toString(), 10_000);
  await using(open(uri), async (key) =>
    assert.ok((await key.publicKey()).equals(pairs['ecdsa-p256'].publicKey)),
  );
});
