import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { KubespiffeError } from '../../../spiffe/errors.ts';
import { parseConfig } from '../../../workload/helper/parse-config.ts';
import { type HelperNeeds, runHelper } from '../../../workload/helper/run.ts';
import { freePorts } from '../../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../../cluster/process.ts';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { launcher } from '../../tools/run.ts';
import { credentialsFor, newVolume, swap } from '../credentials.ts';
import { openWorkshop, type Workshop } from './helper.ts';

const webId = 'spiffe://example.org/ns/shop/sa/web';

let shop: Workshop;
let ca: TestCa;
before(async () => {
  shop = openWorkshop();
  ca = await makeCa();
});
after(() => shop[Symbol.dispose]());

const contents = async () => ({
  'credentials.pem': (await credentialsFor(webId, ca)).pem,
  'roots.pem': ca.pem,
});
let count = 0;

/** A volume, a folder with files of it, and the configuration that leads from one to the other. */
async function setUp(more = '') {
  const first = await contents();
  const volume = newVolume(shop.folder, first);
  const out = join(shop.folder, `out-${++count}`);
  const config = `
source: { credentials: ${volume} }
folder: ${out}
files: [{ name: all.pem, content: [chain, key, chain, key, chain, key] }]
${more}`;
  const read = () => readFileSync(join(out, 'all.pem'), 'utf8');
  const written = (helper: Child) =>
    waitFor('the files', () => existsSync(join(out, 'all.pem')), { needs: [helper] });
  return { first, volume, out, config, read, written };
}

const warnings = (helper: Child) => helper.lastLines(100).match(/^warning: .*$/gm) ?? [];

/** A configuration whose volume does not exist. */
const unreadable = () =>
  `source: { credentials: ${shop.folder}/none }\nfolder: ${shop.folder}/never\nfiles: [{ name: a, content: key }]`;

/** How a helper that runs once ends, which writes nothing. */
async function failureOfOnce({
  onWarning,
  ...more
}: Partial<HelperNeeds> & { onWarning?: (stopping: AbortController) => void }): Promise<KubespiffeError> {
  const { config } = await parseConfig('h', readFileSync(shop.config(unreadable()), 'utf8'));
  const stopping = new AbortController();
  const warn = () => onWarning?.(stopping);
  const needs = { log: () => undefined, warn, env: {}, signal: stopping.signal, ...more };
  const error: KubespiffeError = await runHelper({ ...config, once: true }, needs).then(
    () => assert.fail('it ended well'),
    (thrown) => thrown,
  );
  assert.equal(existsSync(join(shop.folder, 'never')), false);
  return error;
}

describe('kubespiffe helper', () => {
  for (const [what, broken] of [
    ['is truncated', { 'credentials.pem': '-----BEGIN PRIVATE KEY-----\nMIG' }],
    ['has the key of another certificate', 'mixed'],
    ['has no roots', { 'roots.pem': '' }],
  ] as const) {
    it(`the helper keeps its files when the volume ${what}, reports that once, and takes the next good one`, async () => {
      const { first, volume, config, read, written } = await setUp();
      const helper = shop.follow(config);
      try {
        await written(helper);
        const before = read();
        const [one, other] = [await credentialsFor(webId, ca), await credentialsFor(webId, ca)];
        const change = broken === 'mixed' ? { 'credentials.pem': one.keyPem + other.chainPem } : broken;
        swap(volume, { ...first, ...change });
        await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
        assert.equal(read(), before);
        const good = await contents();
        swap(volume, good);
        await waitFor('the next', () => read().includes(good['credentials.pem'].split('\n')[1] ?? '-'), {
          needs: [helper],
        });
        assert.equal(warnings(helper).length, 1);
        assert.doesNotMatch(helper.lastLines(100), /PRIVATE KEY|MIG/);
      } finally {
        await helper.stop();
      }
    });
  }

  it('the helper keeps its files when the disk is full, reports that, and writes them when there is room', async () => {
    const { volume, out, config, read } = await setUp();
    assert.equal((await shop.once(config)).code, 0);
    const before = read();
    const link = readlinkSync(join(out, '..data'));
    swap(volume, await contents());
    // Writes beyond 2 KiB of a file fail, as they do on a full disk.
    const script = `trap '' XFSZ; ulimit -S -f 2; exec "$@"`;
    const command = ['bash', '-c', script, 'bash', launcher, 'helper', '--config', shop.config(config)];
    const helper = startChild('helper', command, {
      logFile: join(shop.folder, 'full.log'),
      env: { ...process.env, NODE_COMPILE_CACHE: '', NODE_DISABLE_COMPILE_CACHE: '1' },
    });
    try {
      await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
      assert.match(warnings(helper)[0] ?? '', /EFBIG/);
      assert.equal(read(), before);
      assert.deepEqual(
        readdirSync(out).sort(),
        ['..data', link, 'all.pem'],
        'nothing is left of the attempt',
      );
      await promisify(execFile)('prlimit', ['--pid', String(helper.pid), '--fsize=unlimited']);
      await waitFor('the new files', () => read() !== before, { needs: [helper] });
    } finally {
      await helper.stop();
    }
  });

  it('the helper reports which file cannot be written, also if its name is that of a folder', async () => {
    const { out, config } = await setUp();
    mkdirSync(join(out, 'all.pem'), { recursive: true });
    const helper = shop.follow(config);
    try {
      await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
      assert.match(warnings(helper)[0] ?? '', /out-[0-9]+: E.*all\.pem/);
      rmSync(join(out, 'all.pem'), { recursive: true });
      await waitFor('the files', () => existsSync(join(out, 'all.pem')), { needs: [helper] });
    } finally {
      await helper.stop();
    }
  });

  it('the helper runs a failed command again until it succeeds, and reports the failure once, after 7 seconds', async () => {
    const [port] = await freePorts(1);
    const marker = join(shop.folder, 'marker');
    const runs = join(shop.folder, 'runs');
    const { config, written } = await setUp(
      `reload: { command: [sh, -c, 'echo >> ${runs}; test -e ${marker}'] }\nhealth: { port: ${port} }`,
    );
    const helper = shop.follow(config);
    try {
      await written(helper);
      const tries = () => (existsSync(runs) ? readFileSync(runs, 'utf8').length : 0);
      await waitFor('the third try', () => tries() === 3, { needs: [helper] });
      assert.deepEqual(warnings(helper), []);
      await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
      assert.equal(tries(), 4);
      const answer = await fetch(`http://127.0.0.1:${port}/ready`);
      assert.equal(answer.status, 200, 'the files are written');
      assert.match(await answer.text(), /sh failed: exit code 1/);
      writeFileSync(marker, '');
      await waitFor('success', () => /^ran sh$/m.test(helper.lastLines()), { needs: [helper] });
      assert.deepEqual(warnings(helper), ['warning: sh failed: exit code 1']);
    } finally {
      await helper.stop();
    }
  });

  const aborts: [string, (stopping: AbortController) => void][] = [
    ['cannot write in time', () => undefined],
    ['is stopped while it tries', (stopping) => stopping.abort()],
  ];
  for (const [what, onWarning] of aborts) {
    it(`a helper that runs once ends with the reason if it ${what}`, async () => {
      const error = await failureOfOnce({ onceTimeoutMs: 100, onWarning });
      assert.equal(error.code, 'SVID_INVALID');
      assert.match(error.message, /credentials\.pem in .*none: credentials\.pem cannot be read \(ENOENT\)/);
    });
  }

  it('a helper that runs once fails if it is stopped before it tries', async () => {
    const error = await failureOfOnce({ signal: AbortSignal.abort() });
    assert.equal(error.message, 'ended before the files were written');
  });

  it('kubespiffe helper --once ends with 1 and the reason at SIGTERM if it wrote nothing', async () => {
    const helper = shop.follow(`once: true\n${unreadable()}`);
    await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
    await helper.stop();
    assert.equal(await helper.exited, 'exit code 1');
    assert.match(helper.lastLines(), /^error: .*credentials\.pem cannot be read/m);
  });

  it('the helper answers probes while another client keeps many connections open', async () => {
    const [port = 0] = await freePorts(1);
    const { config, written } = await setUp(`health: { port: ${port} }`);
    const helper = shop.follow(config);
    const idle: Socket[] = [];
    try {
      await written(helper);
      for (let count = 0; count < 100; count += 1) {
        const socket = connect(port, '127.0.0.1').on('error', () => undefined);
        idle.push(socket);
        await once(socket, 'connect');
      }
      const answer = await fetch(`http://127.0.0.1:${port}/live`, { signal: AbortSignal.timeout(3_000) });
      assert.equal(answer.status, 200);
    } finally {
      for (const socket of idle) socket.destroy();
      await helper.stop();
    }
  });

  it('the helper ends at SIGTERM although a client that sends nothing is connected to its health endpoint', async () => {
    const [port = 0] = await freePorts(1);
    const { config, written } = await setUp(`health: { port: ${port} }`);
    const helper = shop.follow(config);
    await written(helper);
    const silent = connect(port, '127.0.0.1').on('error', () => undefined);
    await once(silent, 'connect');
    // Connections are accepted in turn.
    assert.equal((await fetch(`http://127.0.0.1:${port}/live`)).status, 200);
    await helper.stop('SIGTERM', 2_000);
    silent.destroy();
    assert.equal(await helper.exited, 'exit code 0');
  });

  it('the helper ends if the port of its health endpoint is in use', async () => {
    await using server = createServer();
    server.listen(0);
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const helper = shop.follow((await setUp(`health: { port: ${port} }`)).config);
    assert.equal(await helper.exited, 'exit code 1');
    assert.match(
      helper.lastLines(),
      new RegExp(`error: health\\.port ${port} cannot be used \\(EADDRINUSE\\)`),
    );
  });

  for (const [what, content] of [
    ['is missing', undefined],
    ['is empty', '\nsecond line'],
    ['is not UTF-8', Buffer.from([0xff, 0xfe, 0x41])],
    ['has 1025 bytes', 'a'.repeat(1_025)],
    ['has 513 letters of two bytes', 'é'.repeat(513)],
  ] as const) {
    it(`the helper writes the other files if a password file ${what}`, async () => {
      const file = join(shop.folder, `password-${what.replaceAll(' ', '-')}`);
      if (content !== undefined) writeFileSync(file, content);
      const { out, config, written } = await setUp();
      const helper = shop.follow(
        config.replace('files: [', `files: [{ name: k.p12, content: keystore, passwordFile: ${file} }, `),
      );
      try {
        await written(helper);
        await waitFor('the warning', () => warnings(helper).length > 0, { needs: [helper] });
        assert.ok(warnings(helper)[0]?.includes(file), warnings(helper)[0]);
        assert.equal(existsSync(join(out, 'k.p12')), false);
        writeFileSync(file, 'changeit\n');
        await waitFor('the keystore', () => existsSync(join(out, 'k.p12')), { needs: [helper] });
      } finally {
        await helper.stop();
      }
    });
  }
});
