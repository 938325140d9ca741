import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import { listen } from '../../workload/api/listen.ts';
import { createWorkloadApi } from '../../workload/api/server.ts';
import { compilerEnvironment, compilerFlags, linkerFlags } from '../cluster/binary.ts';
import { freePorts } from '../cluster/ports.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { openPySpiffe } from '../judges/py-spiffe.ts';
import { createWorkload, issueSvid, makeTrustDomain, stateOf } from './api/workload.ts';

const run = promisify(execFile);
const webId = 'spiffe://example.org/ns/shop/sa/web';

let folder: string;
let port: number;
const stopping = new AbortController();
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-guides-'));
  const home = await makeTrustDomain('example.org');
  for (const name of ['web', 'db', 'other']) {
    const svid = await issueSvid(home, `/ns/shop/sa/${name}`);
    const { source } = createWorkload(home, stateOf([svid], [home]));
    const address = parseEndpointAddress(socketOf(name));
    assert.ok(address.ok);
    await listen(createWorkloadApi({ source }), address.value, stopping.signal);
  }
});
after(() => {
  stopping.abort();
  rmSync(folder, { recursive: true });
});

const socketOf = (name: string) => `unix://${join(folder, `${name}.sock`)}`;
const environmentOf = (name: string) => ({ ...process.env, SPIFFE_ENDPOINT_SOCKET: socketOf(name) });

/** The programs of a guide, below a heading. Server and client are on this machine. */
async function programs(page: string, heading: string, language: string): Promise<string[]> {
  const blocks = blocksBelow(await readPage(page), heading).filter((each) => each.language === language);
  assert.ok(blocks.length > 0, heading);
  return blocks.map(({ code }) =>
    code.replaceAll('db.shop.svc', '127.0.0.1').replaceAll(/\b8443\b/g, String(port)),
  );
}

async function goProgram(heading: string): Promise<string> {
  const [code = ''] = await programs('docs/guides/go.md', heading, 'go');
  const module = join(folder, heading.replaceAll(' ', '-'));
  mkdirSync(module);
  for (const file of ['go.mod', 'go.sum'])
    copyFileSync(join(checkout, 'manifests/examples/greeter/go', file), join(module, file));
  writeFileSync(join(module, 'main.go'), code);
  // With the flags of the other programs, whose compiled packages it shares.
  const flags = [...compilerFlags, '-ldflags', linkerFlags];
  const env = { ...process.env, ...compilerEnvironment };
  await run('go', ['build', ...flags, '-o', 'guide', '.'], { cwd: module, env });
  return join(module, 'guide');
}

/** Runs the server as db. The client is answered as web, and not as another workload. */
async function expectMtls(server: readonly string[], client: readonly string[]): Promise<void> {
  const logFile = join(folder, 'server.log');
  const child = startChild('server', server, { logFile, env: environmentOf('db') });
  const [program = '', ...words] = client;
  const callAs = (name: string) => run(program, words, { env: environmentOf(name), timeout: 60_000 });
  try {
    await waitFor('the server', () => isListening(port), { needs: [child] });
    assert.equal((await callAs('web')).stdout.trim(), `hello ${webId}`);
    const refused = await callAs('other').catch(String);
    assert.ok(
      typeof refused === 'string' || !refused.stdout.includes('hello'),
      'another workload is refused',
    );
    assert.match(readFileSync(logFile, 'utf8'), /ns\/shop\/sa\/other/);
  } finally {
    await child.stop();
  }
}

const isListening = (at: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(at, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });

describe('the guides for the libraries of SPIFFE', () => {
  it('the guide for Go installs go-spiffe in a module, from the modules of this machine', async () => {
    const module = join(folder, 'module');
    mkdirSync(module);
    const go = async (...words: string[]) => (await run('go', words, { cwd: module })).stdout.trim();
    await go('mod', 'init', 'example.com/web');
    const proxy = `file://${await go('env', 'GOMODCACHE')}/cache/download`;
    const [block] = blocksBelow(await readPage('docs/guides/go.md'), 'Go: mTLS and JWT-SVIDs with go-spiffe');
    const env = { ...process.env, GOPROXY: proxy, GOSUMDB: 'off' };
    await run('sh', ['-ec', block?.code ?? 'false'], { cwd: module, env });
    assert.match(await go('list', '-m', 'github.com/spiffe/go-spiffe/v2'), /^\S+ v2\.\d+\.\d+$/);
  });

  it('the guide for Python installs py-spiffe, from the wheels that this machine has', async () => {
    const target = join(folder, 'packages');
    const [block] = blocksBelow(
      await readPage('docs/guides/python.md'),
      'Python: mTLS and JWT-SVIDs with py-spiffe',
    );
    const { python, wheels } = await openPySpiffe();
    const env = {
      ...process.env,
      PATH: `${dirname(python)}:${process.env.PATH}`,
      ...{ PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels, PIP_TARGET: target, PIP_NO_COMPILE: '1' },
    };
    await run('sh', ['-ec', block?.code ?? 'false'], { env });
    const at = { env: { ...process.env, PYTHONPATH: target } };
    const { stdout } = await run(python, ['-c', 'import spiffe; print(spiffe.__file__)'], at);
    assert.ok(stdout.startsWith(target), stdout);
  });

  it('the guide for Go has a server and a client that verify each other by SPIFFE IDs', async () => {
    [port = 0] = await freePorts(1);
    await expectMtls([await goProgram('A server')], [await goProgram('A client')]);
  });

  it('the guide for Go has a program that gets a JWT-SVID and verifies it', async () => {
    const { stdout } = await run(await goProgram('JWT-SVIDs'), [], { env: environmentOf('web') });
    assert.equal(stdout, `hello ${webId}\n`);
  });

  it('the guide for Python has a server and a client that verify each other by SPIFFE IDs', async () => {
    [port = 0] = await freePorts(1);
    const { python } = await openPySpiffe();
    for (const code of await programs('docs/guides/python.md', 'mTLS', 'python')) {
      const [, name = ''] = /^# (\w+\.py)\n/.exec(code) ?? [];
      writeFileSync(join(folder, name), code);
    }
    await expectMtls([python, join(folder, 'server.py')], [python, join(folder, 'client.py')]);
  });

  it('the guide for Python has a program that gets a JWT-SVID and verifies it', async () => {
    const [code = ''] = await programs('docs/guides/python.md', 'JWT-SVIDs', 'python');
    const { python } = await openPySpiffe();
    const { stdout } = await run(python, ['-c', code], { env: environmentOf('web'), timeout: 60_000 });
    assert.equal(stdout, `hello ${webId}\n`);
  });
});
