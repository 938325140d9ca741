import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseEndpointAddress } from '../../../client/endpoint-address.ts';
import { listen } from '../../../workload/api/listen.ts';
import { createWorkloadApi } from '../../../workload/api/server.ts';
import { freePorts } from '../../cluster/ports.ts';
import { startChild, waitFor } from '../../cluster/process.ts';
import { type PageCommands, runCommands } from '../../contract/page-commands.ts';
import { blocksBelow, readPage } from '../../docs/markdown.ts';
import { makeCa } from '../../spiffe/pki/authorities.ts';
import { launcher } from '../../tools/run.ts';
import {
  createWorkload,
  issueSvid,
  makeTrustDomain,
  stateOf,
  type TestTrustDomain,
} from '../api/workload.ts';
import { credentialsFor, newVolume } from '../credentials.ts';
import { openWorkshop, type Workshop } from './helper.ts';

let shop: Workshop;
let home: TestTrustDomain;
let partner: TestTrustDomain;
const stopping = new AbortController();

before(async () => {
  shop = openWorkshop();
  home = await makeTrustDomain('example.org');
  partner = await makeTrustDomain('partner.example');
});
after(() => {
  stopping.abort();
  shop[Symbol.dispose]();
});

let count = 0;
const newFolder = () => join(shop.folder, `out-${++count}`);
const read = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8');
const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

/** A real Workload API, whose identities the test sets. */
async function serve(name: string) {
  const uri = `unix://${join(shop.folder, name)}`;
  const address = parseEndpointAddress(uri);
  assert.ok(address.ok);
  const svids = [await issueSvid(home, '/web', 'internal'), await issueSvid(home, '/pod', 'pod')];
  const workload = createWorkload(home, stateOf(svids, [home, partner]));
  await listen(createWorkloadApi({ source: workload.source }), address.value, stopping.signal);
  return { uri, workload, svids };
}

describe('kubespiffe helper on a Workload API', () => {
  it('the helper on a Workload API writes the identity with the hint, federated roots, tokens and JWT keys', async () => {
    const { uri } = await serve('whole.sock');
    const out = newFolder();
    const { code, stderr } = await shop.once(`
source: { socket: "${uri}", hint: pod }
folder: ${out}
files:
  - { name: tls.crt, content: chain }
  - { name: ca.crt, content: [roots, federatedRoots] }
  - { name: token, content: jwtSvid, audience: https://api.example.org }
  - { name: tokens, content: jwtSvid, audience: [a, b] }
  - { name: jwks.json, content: jwks }
  - { name: bundles.json, content: jwtBundles }
`);
    assert.equal(code, 0, stderr);
    assert.match(
      new X509Certificate(read(out, 'tls.crt')).subjectAltName ?? '',
      /URI:spiffe:\/\/example\.org\/pod/,
    );
    assert.equal(read(out, 'ca.crt'), home.ca.pem + partner.ca.pem);
    assert.equal(statSync(join(out, 'token')).mode & 0o777, 0o600);
    assert.equal(claimsOf(read(out, 'token')).sub, 'spiffe://example.org/pod');
    assert.deepEqual([claimsOf(read(out, 'token')).aud].flat(), ['https://api.example.org']);
    assert.deepEqual(claimsOf(read(out, 'tokens')).aud, ['a', 'b']);
    assert.deepEqual(
      JSON.parse(read(out, 'jwks.json')).keys.map(({ kid }: { kid: string }) => kid),
      [home.tokens.kid],
    );
    const bundles = Object.entries(JSON.parse(read(out, 'bundles.json'))).map(([name, base64]) => [
      name,
      JSON.parse(Buffer.from(base64 as string, 'base64').toString()).keys[0].kid,
    ]);
    assert.deepEqual(bundles.sort(), [
      ['example.org', home.tokens.kid],
      ['partner.example', partner.tokens.kid],
    ]);
  });

  it('the helper waits for a Workload API, is ready when the files are written, and follows it', async () => {
    const out = newFolder();
    const [port] = await freePorts(1);
    const get = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return {
        status: response.status,
        body: (await response.json()) as { problem?: string; spiffeId?: string },
      };
    };
    const helper = shop.follow(`
source: { socket: "unix://${join(shop.folder, 'late.sock')}" }
folder: ${out}
files: [{ name: tls.crt, content: chain }]
health: { port: ${port} }
`);
    try {
      await waitFor('a warning', () => /warning: .*late\.sock/.test(helper.lastLines()), { needs: [helper] });
      assert.equal((await get('/live')).status, 200);
      const early = await get('/ready');
      assert.equal(early.status, 503);
      assert.match(early.body.problem ?? '', /late\.sock/);
      const { workload, svids } = await serve('late.sock');
      await waitFor('the files', () => existsSync(join(out, 'tls.crt')), { needs: [helper] });
      await waitFor('ready', async () => (await get('/ready')).status === 200, { needs: [helper] });
      assert.equal((await get('/ready')).body.spiffeId, 'spiffe://example.org/web');
      assert.equal((await get('/metrics')).status, 404);

      const before = read(out, 'tls.crt');
      const renewed = await issueSvid(home, '/web', 'internal');
      workload.become(stateOf([renewed, ...svids.slice(1)], [home, partner]));
      await waitFor('the renewed certificate', () => read(out, 'tls.crt') !== before, { needs: [helper] });
      assert.deepEqual(new X509Certificate(read(out, 'tls.crt')).raw, Buffer.concat(renewed.chain));
    } finally {
      await helper.stop();
    }
    assert.equal(await helper.exited, 'exit code 0', helper.lastLines());
    assert.equal(helper.lastLines(100).match(/warning/g)?.length, 1, helper.lastLines(100));
  });
});

describe('the commands of the pages on the helper', () => {
  const guide = { page: 'docs/guides/helper.md', heading: 'Files for other software' };
  const move = { page: 'docs/coming-from/spiffe-helper.md', heading: 'Migrate without downtime' };
  const rows: PageCommands[] = [
    { ...guide, prints: /^wrote [\s\S]*^sent SIGHUP to process/m },
    { ...guide, prints: /^wrote /m, block: 1 },
    { ...move, prints: /^wrote /m },
    { ...move, prints: /^wrote /m, block: 1 },
  ];
  for (const commands of rows) {
    const { page, block = 0 } = commands;
    it(`the commands of ${page} work, block ${block}`, async (t) => {
      const cwd = newFolder();
      mkdirSync(join(cwd, 'bin'), { recursive: true });
      symlinkSync(launcher, join(cwd, 'bin/kubespiffe'));
      const ca = await makeCa();
      const { pem } = await credentialsFor('spiffe://example.org/ns/shop/sa/web', ca);
      const volume = newVolume(cwd, { 'credentials.pem': pem, 'roots.pem': ca.pem });
      const server = startChild('server', ['sleep', '300'], { logFile: join(cwd, 'server.log') });
      t.after(() => server.stop());
      writeFileSync(join(cwd, 'nginx.pid'), String(server.pid));
      const here = (text: string) =>
        text
          .replaceAll('/run/spiffe', volume)
          .replaceAll('/run/tls', join(cwd, 'tls'))
          .replaceAll('/run/nginx', cwd);
      const [yaml] = blocksBelow(await readPage(guide.page), guide.heading);
      writeFileSync(join(cwd, 'helper.yaml'), here(yaml?.code ?? ''));
      const { uri } = await serve(`${count}.sock`);
      const files = ['svid', 'svid_key', 'svid_bundle'].map((name) => `${name}_file_name = "${name}.pem"\n`);
      const source = `agent_address = "${uri.slice('unix://'.length)}"\ncert_dir = "tls"\n`;
      writeFileSync(join(cwd, 'helper.conf'), source + files.join(''));
      await runCommands(commands, { env: { PATH: `${cwd}/bin:${process.env.PATH}` }, cwd, here });
      assert.deepEqual(readdirSync(join(cwd, 'tls')).filter((name) => !name.startsWith('.')).length, 3);
    });
  }
});
