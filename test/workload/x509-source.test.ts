import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import type { KubespiffeError } from '../../spiffe/errors.ts';
import type { FileSystem } from '../../workload/files.ts';
import { readFiles } from '../../workload/files.ts';
import { openX509Source } from '../../workload/x509-source.ts';
import { isIssuedUnder, readX509Svid } from '../../workload/x509-svid.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { type Credentials, credentialsFor, newVolume, swap, swapSteps } from './credentials.ts';

const id = 'spiffe://example.org/ns/shop/sa/web';
const run = promisify(execFile);

let folder: string;
let ca: TestCa;
let intermediate: TestCa;
let first: Credentials;
let second: Credentials;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-source-'));
  ca = await makeCa();
  intermediate = await makeCa({ subject: 'CN=intermediate', issuer: ca });
  [first, second] = await Promise.all([credentialsFor(id, ca), credentialsFor(id, ca)]);
});
after(() => rm(folder, { recursive: true, force: true }));

const files = (credentials: Credentials | string, roots = ca.pem) => ({
  'credentials.pem': typeof credentials === 'string' ? credentials : credentials.pem,
  'roots.pem': roots,
});

describe('X509Source', () => {
  it('an X509Source gives key, chain, ID and roots of a volume', async () => {
    const chained = await credentialsFor(id, [intermediate, ca]);
    await using source = await openX509Source(newVolume(folder, files(chained)));
    assert.equal(source.svid.id.uri, id);
    assert.equal(source.svid.chainPem, chained.chainPem);
    assert.equal(source.svid.privateKey.export({ type: 'pkcs8', format: 'pem' }), chained.keyPem);
    assert.deepEqual([...source.bundles.keys()], ['example.org']);
  });

  it('an X509Source takes a new certificate as soon as the volume is swapped', async () => {
    const volume = newVolume(folder, files(first));
    await using source = await openX509Source(volume, { pollMs: 60_000 });
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(second));
    await updated;
    assert.equal(source.svid.chainPem, second.chainPem);
  });

  it('an X509Source takes a new certificate where the file system reports no changes', async () => {
    const volume = newVolume(folder, files(first));
    // The watched folder is removed and another one gets its name, of which the watch reports nothing.
    await using source = await openX509Source(join(volume, '..data'), { pollMs: 20 });
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(second));
    await updated;
    assert.equal(source.svid.chainPem, second.chainPem);
  });

  it('an X509Source can replace the roots alone, and keeps the same SVID', async () => {
    const other = await makeCa();
    const volume = newVolume(folder, files(first));
    await using source = await openX509Source(volume);
    const { svid } = source;
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(first, ca.pem + other.pem));
    await updated;
    assert.equal(source.bundles.get('example.org')?.roots.length, 2);
    assert.equal(source.svid, svid);
  });

  it('an X509Source follows roots that are in a volume of their own', async () => {
    const other = await makeCa();
    const roots = newVolume(folder, { 'roots.pem': ca.pem });
    const volume = newVolume(folder, { 'credentials.pem': first.pem });
    await using source = await openX509Source(volume, {
      ...{ roots: join(roots, 'roots.pem'), pollMs: 60_000 },
    });
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(roots, { 'roots.pem': ca.pem + other.pem });
    await updated;
    assert.equal(source.bundles.get('example.org')?.roots.length, 2);
  });

  it('an X509Source reports a problem once, keeps the last good certificate, and takes the next good one', async () => {
    const volume = newVolume(folder, files(first));
    await using source = await openX509Source(volume, { pollMs: 10 });
    const problems: KubespiffeError[] = [];
    source.events.on('problem', (problem) => problems.push(problem));
    let reported = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(first.keyPem + second.chainPem));
    await reported;
    assert.equal(source.svid.chainPem, first.chainPem);
    reported = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files('', ''));
    await reported;
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(second));
    await updated;
    assert.equal(source.svid.chainPem, second.chainPem);
    assert.deepEqual(
      problems.map(({ code, message }) => [code, message.slice(message.indexOf(': ') + 2)]),
      [
        ['SVID_INVALID', 'its private key is not that of its certificate'],
        ['SVID_INVALID', 'there is no PEM block in the text'],
        ['BUNDLE_INVALID', 'there is no PEM block in the text'],
      ],
    );
  });

  it('an X509Source does not replace a good certificate by one that no root has signed', async () => {
    const volume = newVolume(folder, files(first));
    await using source = await openX509Source(volume, { pollMs: 5 });
    const reported = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(await credentialsFor(id, await makeCa())));
    const [problem] = await reported;
    assert.match(
      (problem as KubespiffeError).message,
      /none of the roots of example\.org has signed its chain/,
    );
    assert.equal(source.svid.chainPem, first.chainPem);
  });

  it('an X509Source takes a certificate that no root has signed once the proven one has expired', async () => {
    const short = await credentialsFor(id, ca, { from: 0, to: 1_000 });
    const unproven = await credentialsFor(id, await makeCa());
    const volume = newVolume(folder, files(short));
    let ahead = 0;
    await using source = await openX509Source(volume, { pollMs: 5, now: () => Date.now() + ahead });
    const problems: string[] = [];
    source.events.on('problem', ({ message }) => problems.push(message));
    const reported = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    swap(volume, files(unproven));
    await reported;
    assert.equal(source.svid.chainPem, short.chainPem);
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    ahead = 1_001_000;
    await updated;
    assert.equal(source.svid.chainPem, unproven.chainPem);
    const expired = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    ahead = 3_601_000;
    await expired;
    // Reported once, so the problem was there in each reading.
    assert.equal(problems.length, 2);
    assert.match(problems[0] ?? '', /none of the roots of example\.org has signed its chain/);
    assert.match(problems[1] ?? '', /the certificate in use expired/);
  });

  it('an X509Source reports a certificate that is not renewed in time, and again when it has expired', async () => {
    const volume = newVolume(folder, files(await credentialsFor(id, ca, { from: 0, to: 1_000 })));
    let ahead = 0;
    await using source = await openX509Source(volume, { pollMs: 5, now: () => Date.now() + ahead });
    const nextProblem = async () => {
      const [problem] = await once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
      return (problem as KubespiffeError).message;
    };
    let problem = nextProblem();
    ahead = 760_000;
    assert.match(await problem, /expires at \S+ and was not renewed in time/);
    problem = nextProblem();
    ahead = 1_001_000;
    assert.match(await problem, /expired at \S+ and was not renewed/);
    assert.equal(source.svid.id.uri, id);
  });

  it('an X509Source uses a certificate that is not valid yet, because the clock of its peers decides', async () => {
    const volume = newVolume(folder, files(first));
    await using source = await openX509Source(volume, { now: () => Date.now() - 86_400_000 });
    assert.equal(source.svid.chainPem, first.chainPem);
  });

  it('an X509Source reports problems of its start to later listeners', async () => {
    const foreign = await makeCa({ trustDomain: 'example.com' });
    const volume = newVolume(folder, files(first, foreign.pem));
    await using source = await openX509Source(volume);
    const [problem] = await once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    assert.match((problem as KubespiffeError).message, /no root of example\.org, the trust domain of this/);
  });

  it('an X509Source ends by its signal', async () => {
    const volume = newVolume(folder, files(first));
    const ended = new AbortController();
    const source = await openX509Source(volume, { pollMs: 5, signal: ended.signal });
    ended.abort();
    swap(volume, files(second));
    await source[Symbol.asyncDispose]();
    assert.equal(source.svid.chainPem, first.chainPem);
    await assert.rejects(openX509Source(volume, { signal: ended.signal }), { name: 'AbortError' });
  });

  it('an X509Source does not keep the process alive, and does not print the key', async () => {
    const volume = newVolume(folder, files(first));
    const module = join(import.meta.dirname, '../../workload/x509-source.ts');
    const code = `const { openX509Source } = await import('${module}');
      const source = await openX509Source('${volume}');
      console.log(source.svid, JSON.stringify(source.svid));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { timeout: 20_000 });
    assert.match(stdout, /ns\/shop\/sa\/web/);
    const secret = first.keyPem.split('\n')[1] ?? '';
    assert.ok(secret.length > 40 && !stdout.includes(secret), 'the private key is printed');
  });
});

/** What is wrong with a file, what the error says, and which file it is. */
const bad: readonly [what: string, make: () => Promise<Record<string, string>>, says: RegExp][] = [
  ['there is no file with credentials', async () => ({ 'roots.pem': ca.pem }), /credentials\.pem.*ENOENT/],
  ['there is no file with roots', async () => ({ 'credentials.pem': first.pem }), /roots\.pem.*ENOENT/],
  ['the credentials are empty', async () => files(''), /no PEM block/],
  ['the credentials are cut off', async () => files(first.pem.slice(0, -40)), /no END line/],
  ['there is no private key', async () => files(first.chainPem), /it has 0 private keys/],
  ['there are two private keys', async () => files(second.keyPem + first.pem), /it has 2 private keys/],
  ['there is no certificate', async () => files(first.keyPem), /it has no certificate/],
  [
    'the key is that of another certificate',
    async () => files(second.keyPem + first.chainPem),
    /not that of its certificate/,
  ],
  [
    'the chain is mixed from two credentials',
    async () => files(first.pem + second.chainPem),
    /certificate 1 of the chain is not signed by certificate 2/,
  ],
  [
    'the private key is encrypted',
    async () => {
      const { privateKey } = readOk(first);
      const cipher = { cipher: 'aes-256-cbc', passphrase: 'secret' };
      return files(String(privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher })) + first.chainPem);
    },
    /encrypted/,
  ],
  [
    'the certificate has expired',
    async () => files(await credentialsFor(id, ca, { from: -3_600, to: -60 })),
    /expired at 20/,
  ],
  ['the certificate is one of a CA', async () => files(first.keyPem + ca.pem), /not an X509-SVID/],
  [
    'the certificate has two URIs',
    async () => files(await credentialsFor([id, `${id}2`], ca)),
    /there are 2 URIs.*\(X509-SVID 2\)/,
  ],
  ['the roots are cut off', async () => files(first, ca.pem.slice(0, -40)), /roots\.pem.*no END line/],
  ['the roots are a private key', async () => files(first, first.keyPem), /PEM block PRIVATE KEY/],
  ['the roots are a leaf', async () => files(first, first.chainPem), /it is not a CA certificate/],
];

function readOk(credentials: Credentials) {
  const read = readX509Svid(credentials.pem);
  assert.ok(read.ok);
  return read.value;
}

describe('opening an X509Source on a folder', () => {
  for (const [what, make, says] of bad) {
    it(`an X509Source does not open a folder if ${what}`, async () => {
      const volume = newVolume(folder, await make());
      await assert.rejects(openX509Source(volume), (error: KubespiffeError) => {
        assert.match(error.code, /^(SVID|BUNDLE)_INVALID$/);
        assert.match(error.message, says);
        const secret = first.keyPem.split('\n')[1] ?? '';
        return !error.message.includes(secret);
      });
    });
  }
});

describe('files in the middle of a rotation', () => {
  it('files in a rotation are never a key with another certificate, nor mixed roots, in 10,000 swaps of ..data', async () => {
    const pairs = await Promise.all(Array.from({ length: 4 }, () => credentialsFor(id, ca)));
    const states = pairs.map((pair, index) => files(pair, `# ${index}\n${ca.pem}`));
    let removed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { minLength: 12, maxLength: 12 }), async (pauses) => {
        const volume = newVolume('/dev/shm', states[0] ?? {});
        const writer = (function* () {
          for (const state of states.slice(1)) yield* swapSteps(volume, state);
        })();
        // Before each step of the reader, the writer makes some of its own.
        const write = () => {
          for (let steps = pauses.pop() ?? 0; steps > 0; steps--) writer.next();
        };
        const interrupted: FileSystem = {
          readlink: async (path) => {
            write();
            return readlinkSync(path);
          },
          readFile: async (path) => {
            write();
            if (!existsSync(path)) removed += 1;
            return readFileSync(path);
          },
        };
        try {
          while (pauses.length > 0) {
            const [credentials, roots] = await readFiles(
              volume,
              ['credentials.pem', 'roots.pem'],
              interrupted,
            );
            assert.ok(credentials?.ok && roots?.ok);
            assert.equal(credentials.value, pairs[Number(roots.value.slice(2, 3))]?.pem);
          }
          for (const _ of writer);
        } finally {
          rmSync(volume, { recursive: true });
        }
      }),
      { numRuns: 3_400 },
    );
    assert.ok(removed > 1_000, `a removed folder was met ${removed} times`);
  });

  it('files in a rotation are refused in every state in which a writer that overwrites them leaves them', async () => {
    const folderOfFiles = await mkdtemp(join(folder, 'plain-'));
    const path = join(folderOfFiles, 'credentials.pem');
    const [old, fresh] = [first.pem, second.pem];
    await fc.assert(
      fc.asyncProperty(fc.nat(fresh.length), fc.boolean(), async (length, isTruncated) => {
        // A writer without rename: first part of the new file, and perhaps the rest of the old one.
        await writeFile(path, fresh.slice(0, length) + (isTruncated ? '' : old.slice(length)));
        const [text] = await readFiles(folderOfFiles, ['credentials.pem']);
        assert.ok(text?.ok);
        const read = readX509Svid(text.value);
        if (!read.ok || !isIssuedUnder(read.value, [ca.facts])) return;
        const key = String(read.value.privateKey.export({ type: 'pkcs8', format: 'pem' }));
        const pair = [first, second].find(({ keyPem }) => keyPem === key);
        assert.equal(read.value.chainPem, pair?.chainPem);
      }),
      { numRuns: 2_000 },
    );
  });
});
