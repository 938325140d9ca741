import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readFiles } from '../../../workload/files.ts';
import { writeFiles } from '../../../workload/write-files.ts';
import { startChild, waitFor } from '../../cluster/process.ts';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { run } from '../../tools/run.ts';
import { type Credentials, credentialsFor, newVolume, swap } from '../credentials.ts';
import { openWorkshop, type Workshop } from './helper.ts';

const webId = 'spiffe://example.org/ns/shop/sa/web';

let shop: Workshop;
let root: TestCa;
let home: TestCa;
let partner: TestCa;
let credentials: Credentials;

before(async () => {
  shop = openWorkshop();
  root = await makeCa();
  home = await makeCa({ issuer: root });
  partner = await makeCa({ trustDomain: 'partner.example' });
  credentials = await credentialsFor(webId, [home, root]);
});
after(() => shop[Symbol.dispose]());

const volume = () =>
  newVolume(shop.folder, {
    'credentials.pem': credentials.pem,
    'roots.pem': root.pem,
    'partner.pem': partner.pem,
  });
let count = 0;
const newFolder = () => join(shop.folder, `out-${++count}`);
const read = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8');
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
const blocks = (pem: string) => pem.match(/-----BEGIN [^-]+-----/g)?.map((line) => line.slice(11, -5)) ?? [];

describe('kubespiffe helper', () => {
  it('the helper writes the parts that the configuration names, with their modes', async () => {
    const out = newFolder();
    const source = volume();
    const { code, stderr } = await shop.once(`
source: { credentials: ${source}, bundles: { partner.example: partner.pem } }
folder: ${out}
files:
  - { name: tls.crt, content: chain }
  - { name: tls.key, content: key, mode: 0640 }
  - { name: leaf.pem, content: leaf }
  - { name: haproxy.pem, content: [chain, key] }
  - { name: mysql-ca.pem, content: [roots, intermediates] }
  - { name: ca.crt, content: [roots, federatedRoots], mode: "0444" }
`);
    assert.equal(code, 0, stderr);
    const certificates = (number: number) => Array.from({ length: number }, () => 'CERTIFICATE');
    assert.deepEqual(
      Object.fromEntries(
        readdirSync(out)
          .filter((name) => !name.startsWith('..'))
          .map((name) => [name, [modeOf(join(out, name)), ...blocks(read(out, name))]]),
      ),
      {
        'tls.crt': ['644', ...certificates(2)],
        'tls.key': ['640', 'PRIVATE KEY'],
        'leaf.pem': ['644', ...certificates(1)],
        'haproxy.pem': ['600', ...certificates(2), 'PRIVATE KEY'],
        'mysql-ca.pem': ['644', ...certificates(2)],
        'ca.crt': ['444', ...certificates(2)],
      },
    );
    const leaf = new X509Certificate(read(out, 'tls.crt'));
    assert.ok(leaf.checkPrivateKey(createPrivateKey(read(out, 'tls.key'))));
    assert.equal(read(out, 'ca.crt'), root.pem + partner.pem);
    const verify = [
      'verify',
      '-CAfile',
      join(out, 'ca.crt'),
      '-untrusted',
      join(out, 'tls.crt'),
      join(out, 'tls.crt'),
    ];
    assert.match(execFileSync('openssl', verify, { encoding: 'utf8' }), /: OK/);
  });

  it('the helper writes roots without a SPIFFE ID, for the trust domain of the configuration or of a flag', async () => {
    const nameless = await makeCa({ withoutUri: true });
    const source = newVolume(shop.folder, {
      'credentials.pem': (await credentialsFor(webId, nameless)).pem,
      'roots.pem': nameless.pem,
    });
    const out = newFolder();
    const files = (folder: string) => `folder: ${folder}\nfiles: [{ name: ca.crt, content: roots }]`;
    const { code, stderr } = await shop.once(
      `source: { credentials: ${source}, trustDomain: example.org }\n${files(out)}`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(read(out, 'ca.crt'), nameless.pem);
    const byFlag = newFolder();
    const flags = ['--credentials', source, '--trust-domain', 'example.org'];
    await run(['helper', '--once', '--config', shop.config(files(byFlag)), ...flags]);
    assert.equal(read(byFlag, 'ca.crt'), nameless.pem);
  });

  it('the helper replaces all files at one moment, removes those no longer configured, and leaves other files', async () => {
    const out = newFolder();
    const source = volume();
    mkdirSync(out);
    writeFileSync(join(out, 'tls.crt'), 'of another program');
    writeFileSync(join(out, 'other.txt'), 'of another program');
    const config = (names: readonly string[]) =>
      `source: { credentials: ${source} }\nfolder: ${out}\nfiles:\n${names.map((name) => `  - { name: ${name}, content: chain }\n`).join('')}`;
    assert.equal((await shop.once(config(['tls.crt', 'old.pem']))).code, 0);
    const first = readlinkSync(join(out, '..data'));
    assert.equal((await shop.once(config(['tls.crt', 'old.pem']))).code, 0);
    assert.equal(readlinkSync(join(out, '..data')), first, 'nothing changed, nothing was written');

    const renewed = await credentialsFor(webId, [home, root]);
    swap(source, { 'credentials.pem': renewed.pem, 'roots.pem': root.pem });
    const { code, stderr } = await shop.once(config(['tls.crt']));
    assert.equal(code, 0, stderr);
    const second = readlinkSync(join(out, '..data'));
    assert.notEqual(second, first);
    assert.deepEqual(readdirSync(out).sort(), ['..data', second, 'other.txt', 'tls.crt']);
    assert.equal(read(out, 'tls.crt'), renewed.chainPem);
    assert.equal(read(out, 'other.txt'), 'of another program');
  });

  it("a reader of the helper's files never sees a mix of two versions, nor a folder without them", async () => {
    const out = newFolder();
    const states = [await credentialsFor(webId, root), await credentialsFor(webId, root)];
    const write = (index: number) => {
      const { chainPem, keyPem } = states[index % 2] ?? credentials;
      return writeFiles(out, [
        { name: 'tls.crt', mode: 0o644, content: chainPem },
        { name: 'tls.key', mode: 0o600, content: keyPem },
      ]);
    };
    await write(0);
    const seen = new Set<number>();
    let isWriting = true;
    const reader = async () => {
      while (isWriting) {
        const [crt, key] = await readFiles(out, ['tls.crt', 'tls.key']);
        assert.ok(crt?.ok && key?.ok);
        const index = states.findIndex(({ chainPem }) => chainPem === crt.value);
        assert.equal(key.value, states[index]?.keyPem);
        assert.notEqual(await readFile(join(out, 'tls.crt'), 'utf8'), '');
        seen.add(index);
      }
    };
    const writer = async () => {
      for (let index = 1; index <= 200; index++) assert.equal(await write(index), true);
      isWriting = false;
    };
    await Promise.all([writer(), reader(), reader()]);
    assert.deepEqual([...seen].toSorted(), [0, 1]);
  });

  it('the helper writes again within a second of a renewal, and signals the process of the pid file each time', async () => {
    const out = newFolder();
    const source = volume();
    const log = join(shop.folder, 'server.log');
    const pidFile = join(shop.folder, 'server.pid');
    const server = startServer('server-a', pidFile, log);
    await waitFor('the server', () => existsSync(log), { needs: [server] });
    const helper = shop.follow(`
source: { credentials: ${source} }
folder: ${out}
files: [{ name: tls.crt, content: chain }]
reload: { signal: SIGHUP, pidFile: ${pidFile} }
`);
    try {
      const hups = () => read(shop.folder, 'server.log').match(/HUP/g)?.length ?? 0;
      await waitFor('the first signal', () => hups() === 1, { needs: [helper] });
      const renewed = await credentialsFor(webId, [home, root]);
      const start = performance.now();
      swap(source, { 'credentials.pem': renewed.pem, 'roots.pem': root.pem });
      await waitFor('the renewed certificate', () => read(out, 'tls.crt') === renewed.chainPem, {
        everyMs: 5,
        needs: [helper],
      });
      assert.ok(performance.now() - start < 1_000);
      await waitFor('the second signal', () => hups() === 2, { needs: [helper] });
    } finally {
      await helper.stop();
      await server.stop();
    }
    assert.equal(await helper.exited, 'exit code 0', helper.lastLines());
    assert.doesNotMatch(helper.lastLines(100), /warning|PRIVATE KEY/);
  });
});

/** A server that writes its pid and counts the signals that it gets. */
function startServer(name: string, pidFile: string, log: string) {
  const script = `trap 'echo HUP >> ${log}' HUP; echo $$ > ${pidFile}; echo up >> ${log}; while :; do sleep 0.05; done`;
  return startChild(name, ['bash', '-c', script], { logFile: join(shop.folder, `${name}.log`) });
}
