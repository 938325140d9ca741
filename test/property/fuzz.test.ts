import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkAuthority, checkLeaf } from '../../spiffe/conformance.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { maxCsrBytes, readCsrKey } from '../../spiffe/pki/csr.ts';
import { leafExtensions, readPodIdentity } from '../../spiffe/pki/leaf-extensions.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { createContents } from '../../tools/inspect/contents.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { keyShelf, supportedKey, type TestKeyName } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { everyExtension } from '../tools/every-extension.ts';

const key = keyShelf();
const numRuns = 20_000;
/** A reading takes microseconds; what takes this long over a few kilobytes hangs, on however busy a machine. */
const patienceMs = 5_000;

/** One change of the kind that transport, truncation or an attacker makes. */
type Mutation = (input: Buffer) => Buffer;

const mutations: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(255)).map(
    ([at, octet]): Mutation =>
      (input) => {
        const output = Buffer.from(input);
        if (output.length > 0) output[at % output.length] = octet;
        return output;
      },
  ),
  fc.tuple(fc.nat(), fc.nat(7)).map(
    ([at, bit]): Mutation =>
      (input) => {
        const output = Buffer.from(input);
        const index = at % Math.max(1, output.length);
        output[index] = (output[index] ?? 0) ^ (1 << bit);
        return output;
      },
  ),
  fc.nat().map(
    (at): Mutation =>
      (input) =>
        input.subarray(0, at % (input.length + 1)),
  ),
  fc.nat().map(
    (at): Mutation =>
      (input) =>
        input.subarray(at % (input.length + 1)),
  ),
  fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 8 })).map(
    ([at, more]): Mutation =>
      (input) => {
        const index = at % (input.length + 1);
        return Buffer.concat([input.subarray(0, index), more, input.subarray(index)]);
      },
  ),
  fc.tuple(fc.nat(), fc.nat(), fc.nat(40)).map(
    ([from, to, length]): Mutation =>
      (input) => {
        const output = Buffer.from(input);
        input.copy(
          output,
          to % (input.length + 1),
          from % (input.length + 1),
          (from % (input.length + 1)) + length,
        );
        return output;
      },
  ),
  fc.tuple(fc.nat(), fc.constantFrom(0x80, 0x81, 0x84, 0xff)).map(
    ([at, length]): Mutation =>
      (input) => {
        const output = Buffer.from(input);
        if (output.length > 1) output[(at % (output.length - 1)) + 1] = length;
        return output;
      },
  ),
);

/** Reads many mutated inputs; an exception or a slow answer is the failure. */
function fuzz(seeds: readonly Buffer[], read: (input: Buffer) => void, runs = numRuns): void {
  const inputs = fc
    .tuple(fc.nat(), fc.array(mutations, { minLength: 1, maxLength: 4 }))
    .map(([seed, list]) =>
      list.reduce((input, mutate) => mutate(input), seeds[seed % seeds.length] ?? Buffer.alloc(0)),
    );
  fc.assert(
    fc.property(inputs, (input) => {
      const started = performance.now();
      read(input);
      assert.ok(performance.now() - started < patienceMs);
    }),
    { numRuns: runs },
  );
}

const names: readonly TestKeyName[] = ['ECDSA P-256', 'ECDSA P-521', 'Ed25519', 'RSA 3072'];

test('no change to a public key makes its reader throw', () => {
  fuzz(
    names.map((name) => key(name).spki),
    (input) => {
      const read = readSubjectKey(input);
      if (read.kind === 'supported') assert.deepEqual(Buffer.from(read.spki), input);
    },
  );
});

test('no change to a request makes its reader throw, and it returns only a key that is in the request', () => {
  fuzz(
    names.map((name) => stubRequest(key(name))),
    (input) => {
      const read = readCsrKey(input);
      if (read.kind !== 'supported') return;
      assert.ok(input.includes(Buffer.from(read.spki)));
      assert.deepEqual(readSubjectKey(read.spki), read);
    },
  );
});

test('no change to a certificate makes its readers or the conformance check throw', async () => {
  const ca = await makeCa();
  const { templateFor, signer } = authorityOf(ca);
  const template = templateFor(svidProfile);
  const subject = supportedKey(key('Ed25519').spki);
  const tbs = template.build({
    serial: makeSerial(randomBytes),
    notBefore: 1_800_000_000,
    notAfter: 1_800_003_600,
    key: subject,
    subjectAltName: subjectAltName({ uris: ['spiffe://example.org/ns/shop/sa/web'], dnsNames: [] }),
    furtherExtensions: leafExtensions({ podIdentity: true, issuer: 'https://id.example.org' })({
      namespace: 'shop',
      serviceAccountName: 'web',
      serviceAccountUID: 'a-1',
      podName: 'web-0',
      podUID: 'p-1',
      nodeName: 'node-1',
      nodeUID: 'n-1',
    }),
  });
  const leaf = Buffer.from(template.assemble(tbs, await signer.sign(tbs)));
  fuzz([leaf, Buffer.from(ca.facts.der)], (input) => {
    const read = readCertificate(input);
    if (!read.ok) return;
    checkLeaf(read.value, 'example.org');
    checkAuthority(read.value);
    readPodIdentity(read.value.extensions);
  });
});

test('no change to a certificate, an extension or a request makes what `inspect` shows of it throw', () => {
  const [certificate, request] = Object.values(everyExtension()).map((pem) => decodePem(pem));
  assert.ok(certificate?.ok && request?.ok);
  const facts = readCertificate(certificate.value[0]?.der ?? Buffer.alloc(0));
  assert.ok(facts.ok);
  const { extensions, der } = facts.value;
  for (const extension of extensions) {
    const show = (value: Uint8Array) => createContents().extensions([{ ...extension, value }]);
    fuzz([Buffer.from(extension.value)], (input) => void show(input), 500);
  }
  fuzz([Buffer.from(der)], (input) => void createContents().certificate(input), 1_000);
  fuzz([Buffer.from(request.value[0]?.der ?? [])], (input) => void createContents().request(input), 1_000);
});

test('no change to a PEM text makes its reader throw', () => {
  const text = encodePem('CERTIFICATE', randomBytes(200)) + encodePem('PRIVATE KEY', randomBytes(60));
  fuzz([Buffer.from(text)], (input) => {
    const read = decodePem(input.toString('latin1'));
    if (read.ok) for (const block of read.value) assert.ok(block.label !== '' && block.der.length > 0);
  });
});

test('random octets are never a key, a request or a certificate, and never an exception', () => {
  const octets = fc.uint8Array({ maxLength: maxCsrBytes + 10, size: 'max' });
  fc.assert(
    fc.property(octets, (input) => {
      assert.equal(readSubjectKey(input).kind, 'unreadable');
      assert.equal(readCsrKey(input).kind, 'unreadable');
      assert.equal(readCertificate(input).ok, false);
    }),
    { numRuns: 300 },
  );
});
