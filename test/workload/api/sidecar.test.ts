import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { publicJwkOf } from '../../../spiffe/jwk.ts';
import { connectX509Source } from '../../../workload/workload-api.ts';
import { freePorts } from '../../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../../cluster/process.ts';
import { x509KeyOf } from '../../federation/bundles.ts';
import { type Judges, openJudges } from '../../judges/judges.ts';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { launcher, run } from '../../tools/run.ts';
import { credentialsFor, newVolume, swap } from '../credentials.ts';

const webId = 'spiffe://example.org/ns/shop/sa/web';
const podId = 'spiffe://example.org/ns/shop/pod/web-0';

let folder: string;
let judges: Judges;
let home: TestCa;
let partner: TestCa;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'workload-api-'));
  judges = await openJudges();
  home = await makeCa();
  partner = await makeCa({ trustDomain: 'partner.example' });
});
after(() => rmSync(folder, { recursive: true }));

const volumeOf = async (id: string) =>
  newVolume(folder, { 'credentials.pem': (await credentialsFor(id, home)).pem, 'roots.pem': home.pem });

let count = 0;

/** Runs `kubespiffe workload-api` while the test acts. */
async function serving(
  args: readonly string[],
  act: (served: { uri: string; child: Child }) => Promise<void>,
): Promise<void> {
  count += 1;
  const path = join(folder, `${count}.sock`);
  const uri = `unix://${path}`;
  const command = [launcher, 'workload-api', '--socket', uri, ...args];
  const child = startChild('workload-api', command, { logFile: join(folder, `${count}.log`) });
  try {
    await act({ uri, child });
  } finally {
    await child.stop();
  }
  assert.equal(await child.exited, 'exit code 0', child.lastLines());
  assert.equal(existsSync(path), false, 'the socket is gone');
  assert.doesNotMatch(await readFile(child.logFile, 'utf8'), /PRIVATE KEY/);
}

/** Two X.509 contexts that go-spiffe sees, one after another, while the volume changes again and again. */
async function twoContexts(uri: string, child: Child, change: () => void): Promise<(string | undefined)[]> {
  await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
  let seen: (string | undefined)[] | undefined;
  const updates = judges.workloadApiUpdates({ address: uri, updates: 2 }).then((verdicts) => {
    seen = verdicts.map(({ facts }) => facts.x509);
  });
  // When its stream opens is not known here.
  const changed = waitFor(
    'two contexts',
    () => {
      if (!seen) change();
      return seen;
    },
    { everyMs: 500, needs: [child] },
  );
  await Promise.all([updates, changed]);
  return changed;
}

describe('kubespiffe workload-api', () => {
  it('kubespiffe workload-api gives go-spiffe the certificate of the volume, and its renewal', async () => {
    const volume = await volumeOf(webId);
    const renewals = [await credentialsFor(webId, home), await credentialsFor(webId, home)];
    await serving(['--credentials', volume], async ({ uri, child }) => {
      const [first, next] = await twoContexts(uri, child, () => {
        const renewed = renewals.shift();
        assert.ok(renewed);
        renewals.push(renewed);
        swap(volume, { 'credentials.pem': renewed.pem, 'roots.pem': home.pem });
      });
      assert.ok(first?.startsWith(`${webId} `), first);
      assert.ok(next?.startsWith(`${webId} `), next);
      assert.notEqual(first, next);
    });
  });

  it('kubespiffe workload-api pushes a renewal of the volume within a second', async () => {
    const volume = await volumeOf(webId);
    const renewals = await Promise.all(Array.from({ length: 5 }, () => credentialsFor(webId, home)));
    await serving(['--credentials', volume], async ({ uri, child }) => {
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      await using source = await connectX509Source(uri);
      const took: number[] = [];
      for (const { pem, chainPem } of renewals) {
        const startedAt = performance.now();
        const updated = once(source.events, 'update', { signal: AbortSignal.timeout(10_000) });
        swap(volume, { 'credentials.pem': pem, 'roots.pem': home.pem });
        await updated;
        took.push(performance.now() - startedAt);
        assert.equal(source.svid.chainPem, chainPem);
      }
      // The median, as the machine may stand still for a moment.
      assert.ok((took.toSorted((a, b) => a - b)[2] ?? 0) < 1_000, took.join());
    });
  });

  it('kubespiffe workload-api gives several identities with their hints, and federated roots', async () => {
    const roots = newVolume(folder, { 'partner.pem': partner.pem });
    const args = [
      ...[
        '--credentials',
        `${await volumeOf(webId)}=internal`,
        '--credentials',
        `${await volumeOf(podId)}=pod`,
      ],
      ...['--bundle', `partner.example=${join(roots, 'partner.pem')}`],
    ];
    await serving(args, async ({ uri, child }) => {
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
      assert.match(
        seen?.facts.x509 ?? '',
        /^spiffe:\/\/example\.org\/ns\/shop\/sa\/web \w+ internal, spiffe:.*pod$/,
      );
      assert.deepEqual(seen?.facts['x509-bundles']?.split(' ').toSorted(), [
        'example.org',
        'partner.example',
      ]);
    });
  });

  it('kubespiffe workload-api serves roots without a SPIFFE ID, for the trust domain of --trust-domain', async () => {
    const nameless = await makeCa({ withoutUri: true });
    const credentials = await credentialsFor(webId, nameless);
    const volume = newVolume(folder, { 'credentials.pem': credentials.pem, 'roots.pem': nameless.pem });
    await serving(['--credentials', volume, '--trust-domain', 'example.org'], async ({ uri, child }) => {
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
      assert.equal(seen?.facts['x509-bundles'], 'example.org');
    });
  });

  describe('kubespiffe workload-api with a token endpoint', () => {
    let server: https.Server;
    let url: string;
    /** Ends the answer to a request for the bundles. */
    let answered: (() => void) | undefined;
    before(async () => {
      const { publicKey: jwtKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const own = await credentialsFor('spiffe://example.org/kubespiffe/token-endpoint', home);
      const bundleOf = (ca: TestCa) => ({
        keys: [x509KeyOf({ certificate: ca.pem }), { ...publicJwkOf(jwtKey), use: 'jwt-svid', kid: 'a' }],
      });
      const bundles = { 'example.org': bundleOf(home), 'partner.example': bundleOf(partner) };
      server = https.createServer({ key: own.keyPem, cert: own.chainPem }, (_request, response) => {
        answered = () => response.end(JSON.stringify({ trust_domains: bundles }));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      url = `https://localhost:${(server.address() as AddressInfo).port}`;
    });
    beforeEach(() => {
      answered = undefined;
    });
    after(() => {
      server.closeAllConnections();
      server.close();
    });

    const serveBeside = async (act: Parameters<typeof serving>[1]) =>
      serving(['--credentials', await volumeOf(webId), '--token-endpoint', url], async (served) => {
        await waitFor('the request for the bundles', () => answered, { needs: [served.child] });
        assert.equal(existsSync(served.uri.slice('unix://'.length)), false);
        await act(served);
      });

    it('kubespiffe workload-api serves when it has the bundles of federated trust domains, so that none is missing', async () => {
      await serveBeside(async ({ uri, child }) => {
        answered?.();
        await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
        const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
        assert.deepEqual(seen?.facts['x509-bundles']?.split(' ').toSorted(), [
          'example.org',
          'partner.example',
        ]);
      });
    });

    it('kubespiffe workload-api serves without the bundles of the token endpoint after ten seconds', async () => {
      await serveBeside(async ({ uri, child }) => {
        await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
        const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
        assert.equal(seen?.facts['x509-bundles'], 'example.org');
      });
    });
  });

  it('kubespiffe workload-api waits for a volume that does not exist yet, and reports that once', async () => {
    const volume = newVolume(folder, {});
    const credentials = await credentialsFor(webId, home);
    await serving(['--credentials', volume], async ({ uri, child }) => {
      await waitFor('the warning', () => /warning: .*credentials\.pem/.test(child.lastLines()), {
        needs: [child],
      });
      swap(volume, { 'credentials.pem': credentials.pem, 'roots.pem': home.pem });
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      assert.equal(child.lastLines(50).match(/warning/g)?.length, 1, child.lastLines(50));
    });
  });

  it('kubespiffe workload-api ends at SIGTERM without an error while it waits for the volume', async () => {
    await serving(['--credentials', newVolume(folder, {})], async ({ child }) => {
      await waitFor('the warning', () => /^warning: /m.test(child.lastLines()), { needs: [child] });
      await child.stop();
      assert.match(child.lastLines(), /^warning: .*$/);
    });
  });

  it('kubespiffe workload-api keeps the last good certificate when the volume breaks, and reports that', async () => {
    const volume = await volumeOf(webId);
    await serving(['--credentials', volume], async ({ uri, child }) => {
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      swap(volume, { 'credentials.pem': 'broken', 'roots.pem': home.pem });
      await waitFor('the warning', () => /warning: /.test(child.lastLines()), { needs: [child] });
      const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
      assert.ok(seen?.facts.x509?.startsWith(`${webId} `));
    });
  });

  it('kubespiffe workload-api --check reports whether the Workload API is served, for probes', async () => {
    await serving(['--credentials', await volumeOf(webId)], async ({ uri, child }) => {
      await waitFor('the socket', () => existsSync(uri.slice('unix://'.length)), { needs: [child] });
      const check = (address: string) => run(['workload-api', '--check', '--socket', address]);
      assert.deepEqual(await check(uri), { code: 0, stdout: '', stderr: '' });
      const refused = await check(`unix://${folder}/never.sock`);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /nothing is served at unix:.*never\.sock/);
    });
  });

  for (const transport of ['a Unix socket', 'TCP']) {
    it(`kubespiffe workload-api ends at SIGTERM although a client that sends nothing is connected over ${transport}`, async () => {
      const [port = 0] = await freePorts(1);
      const overTcp = transport === 'TCP' ? ['--socket', `tcp://127.0.0.1:${port}`] : [];
      await serving(['--credentials', await volumeOf(webId), ...overTcp], async ({ uri, child }) => {
        await waitFor('the start', () => /^serving /m.test(child.lastLines()), { needs: [child] });
        const isTcp = overTcp.length > 0;
        const silent = isTcp ? connect(port, '127.0.0.1') : connect(uri.slice('unix://'.length));
        silent.on('error', () => undefined);
        await once(silent, 'connect');
        {
          // Connections are accepted in turn.
          await using _next = await connectX509Source(overTcp[1] ?? uri);
        }
        await child.stop('SIGTERM', 2_000);
        silent.destroy();
      });
    });
  }

  const wrong: [string, string[], RegExp][] = [
    ['an address without a scheme', ['--socket', 'agent.sock'], /an address is unix:\/\/\/absolute\/path/],
    ['an address for the whole network', ['--socket', 'tcp://0.0.0.0:80'], /not an address of loopback/],
    [
      'a path that is too long for a socket',
      ['--socket', `unix:///${'a'.repeat(108)}`],
      /a socket has at most 107/,
    ],
    ['several identities without hints', ['--credentials', 'a', '--credentials', 'b'], /need hints/],
    ['several identities with the same hint', ['--credentials', 'a=x', '--credentials', 'b=x'], /need hints/],
    ['a token without an endpoint', ['--token', 'token'], /--token is for --token-endpoint/],
    ['an endpoint without TLS', ['--token-endpoint', 'http://tokens'], /https:\/\//],
    ['a trust domain in upper case', ['--trust-domain', 'Example'], /--trust-domain Example: /],
    ['a bundle without a trust domain', ['--bundle', 'roots.pem'], /--bundle TRUST_DOMAIN=FILE/],
  ];
  for (const [name, args, message] of wrong) {
    it(`kubespiffe workload-api refuses ${name}`, async () => {
      const volume = await volumeOf(webId);
      const socket = args.includes('--socket') ? [] : ['--socket', `unix://${folder}/never.sock`];
      const credentials = args.includes('--credentials') ? [] : ['--credentials', volume];
      const { code, stderr } = await run(['workload-api', ...socket, ...credentials, ...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });
  }
});
