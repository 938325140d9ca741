import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { Extension } from '@peculiar/x509';
import { signatureAlgorithms } from '../../spiffe/pki/algorithms.ts';
import { bitString, encode, sequence } from '../../spiffe/pki/der-writer.ts';
import { nameOfOid, oids } from '../../spiffe/pki/oid.ts';
import { createContents } from '../../tools/inspect/contents.ts';
import { makeCa } from '../authority/authorities.ts';
import { everyExtension, extensionRows } from './every-extension.ts';
import { run } from './run.ts';

const made = everyExtension();
const shown = extensionRows.map(([, text]) => text);
const subject = 'O=example\\, Inc., CN=a\\+b, OU=one + OU=two';

interface Inspected {
  readonly sections: readonly {
    readonly facts: Readonly<Record<string, string>>;
    readonly extensions: readonly { name: string; oid: string; critical: boolean; value: string }[];
  }[];
}

describe('what `kubespiffe inspect` shows of a certificate', () => {
  it('inspect shows the subject, the issuer and every extension of a certificate, with names of all kinds', async () => {
    const { stdout } = await run(['inspect', '-'], { input: made.certificate });
    const lines = stdout.split('\n').map((line) => line.replace(/^ +(Extensions)? */, ''));
    assert.deepEqual(
      shown.filter((text) => !lines.includes(text)),
      [],
      stdout,
    );
    for (const name of ['Subject', 'Issuer']) {
      assert.ok(stdout.includes(`  ${name.padEnd(11)}   ${subject}\n`), stdout);
    }
  });

  it('inspect shows programs the same of a certificate, with object identifiers', async () => {
    const { stdout } = await run(['inspect', '-', '-o', 'json'], { input: made.certificate });
    const [section] = (JSON.parse(stdout) as Inspected).sections;
    const texts = section?.extensions.map(
      ({ name, critical, value }) => `${name}${critical ? ' (critical)' : ''}: ${value}`,
    );
    assert.deepEqual(texts?.toSorted(), shown.toSorted());
    assert.ok(section?.extensions.every(({ name, oid }) => nameOfOid(oid) === name));
  });
});

it('inspect shows the subject of a request and the extensions that it asks for', async () => {
  const { stdout } = await run(['inspect', '-', '-o', 'json'], { input: made.request });
  const [section] = (JSON.parse(stdout) as Inspected).sections;
  assert.deepEqual(
    section?.extensions.map(({ value }) => value),
    shown.map((text) => text.slice(text.indexOf(': ') + 2)),
  );
  assert.equal(section?.facts.Subject, subject);
});

describe('hostile content', () => {
  const size = 1 << 20;
  /** One element within the other, outermost first, without an end of the innermost. */
  const nested = (tag: number, depth: number): Buffer =>
    Array.from({ length: depth }).reduce((inner: Buffer) => encode(tag, inner), Buffer.alloc(0));
  const values: [what: string, value: Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['a length beyond the end', Uint8Array.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1)],
    ['a length of eight octets', Uint8Array.of(0x30, 0x88, 0x1f, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1)],
    ['sequences of endless length', Buffer.alloc(16_000, Uint8Array.of(0x30, 0x80))],
    ['sequences, 30 deep', nested(0x30, 30)],
    ['sequences, 3,000 deep', nested(0x30, 3_000)],
    ['octet strings, 3,000 deep', nested(0x04, 3_000)],
    ['constructed octet strings, 3,000 deep', nested(0x24, 3_000)],
    ['context tags, 3,000 deep', nested(0xa0, 3_000)],
    ['sets, 100,000 deep', Buffer.concat(Array.from({ length: 100_000 }, () => Uint8Array.of(0x31, 0x80)))],
    ['a sequence of 8,000 empty elements', sequence(Buffer.alloc(16_000, Uint8Array.of(5, 0)))],
    ['a megabyte of empty elements', sequence(Buffer.alloc(size, Uint8Array.of(5, 0)))],
    ['an object identifier with 16,000 arcs', encode(6, Buffer.alloc(16_000, 1))],
    ['an object identifier with a megabyte of arcs', encode(6, Buffer.alloc(size, 1))],
    ['an object identifier with one endless arc', encode(6, Buffer.alloc(16_000, 0xff))],
    ['a number of 16,000 octets', encode(2, Buffer.alloc(16_000, 0x7f))],
    ['a tag number without an end', Buffer.alloc(16_000, 0xff)],
    ['a text that is not UTF-8', encode(0x0c, Buffer.alloc(16_000, 0xc3))],
    [
      'names that cannot be read',
      sequence(...Array.from({ length: 900 }, (_, n) => encode(0x80 | (n % 31), Buffer.alloc(9)))),
    ],
  ];

  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  /** A certificate that has this as its names. */
  const namedBy = (name: Uint8Array): Uint8Array => {
    const algorithm = signatureAlgorithms.ES256.encodings[0];
    const time = encode(0x17, Buffer.from('260101000000Z'));
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const version = encode(0xa0, encode(2, Uint8Array.of(2)));
    const serial = encode(2, Uint8Array.of(1));
    const tbs = sequence(version, serial, algorithm, name, sequence(time, time), name, spki);
    return sequence(tbs, algorithm, bitString(Uint8Array.of(1)));
  };

  for (const [what, value] of values) {
    it(`hostile content is read within limits, in every extension and as a name: ${what}`, () => {
      const contents = createContents();
      const certificate = namedBy(value);
      const extensions = Object.values(oids).map((oid) => ({ oid, name: oid, critical: false, value }));
      const started = process.cpuUsage();
      const texts = contents.extensions(extensions).map((each) => each.value);
      texts.push(contents.certificate(certificate)?.subject ?? '', contents.request(value)?.subject ?? '');
      assert.equal(contents.certificate(value), undefined);
      const { user, system } = process.cpuUsage(started);
      // Some 2 s for the worst of them: 27 extensions with 16,000 arcs each.
      assert.ok(user + system < 20_000_000, `${user + system} µs`);
      for (const text of texts) assert.ok(text.length < 5_000);
      if (value.length > 64 * 1024) {
        assert.match(texts[0] ?? '', /^\(\d+ bytes, not shown\)$/);
      }
    });
  }

  it('hostile content of many certificates is limited in total, so that it takes a limited time', () => {
    const contents = createContents();
    const name = encode(0x0c, Buffer.alloc(16_000, 0x61));
    const extensions = [{ oid: '1.2.3', name: '1.2.3', critical: false, value: name }];
    const texts = Array.from({ length: 400 }, () => contents.extensions(extensions)[0]?.value ?? '');
    assert.match(texts[0] ?? '', /^a{4000}… \(16000 characters\)$/);
    assert.match(texts.at(-1) ?? '', /not shown/);
  });

  it('an extension of a megabyte is not shown, and its certificate is judged', async () => {
    const value = encode(4, Buffer.alloc(size, 0xff));
    const ca = await makeCa({
      notBefore: Math.floor(Date.now() / 1000) - 60,
      notAfter: Math.floor(Date.now() / 1000) + 3600,
      furtherExtensions: [new Extension('1.2.3.4', false, value)],
    });
    const { stdout } = await run(['inspect', '-'], { input: ca.certificate });
    assert.match(stdout, /^ +Content +\(10\d{5} bytes, not shown\)$/m);
    assert.match(stdout, /^Result: conforms/m);
  });
});
