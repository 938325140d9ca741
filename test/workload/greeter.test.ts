import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { exported } from '../../scripts/npm-package.ts';
import { goBinary } from '../cluster/go-binary.ts';
import { freePorts } from '../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { openPySpiffe } from '../judges/py-spiffe.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { launcher } from '../tools/run.ts';
import { credentialsFor, newVolume, swap } from './credentials.ts';

const run = promisify(execFile);
const example = join(import.meta.dirname, '../../manifests/examples/greeter');
const idOf = (name: string) => `spiffe://example.org/ns/greeter/sa/${name}`;
const serverId = idOf('server');
const clientId = idOf('client');
const otherId = idOf('other');

let folder: string;
let ca: TestCa;
let port: number;
let server: Child;
let serverVolume: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-greeter-'));
  ca = await makeCa();
  [port = 0] = await freePorts(1);
  serverVolume = newVolume(folder, await filesOf(serverId));
  server = start('server', 'server', {
    ...{ SPIFFE_CREDENTIALS: serverVolume, PORT: `${port}`, CONNECTION_AGE_MS: '200' },
    CLIENT_IDS: `${clientId} ${otherId}`,
  });
  await waitFor('the server', () => linesOf(server).includes('listening'), { needs: [server] });
});
after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function filesOf(id: string) {
  return { 'credentials.pem': (await credentialsFor(id, ca)).pem, 'roots.pem': ca.pem };
}

const linesOf = ({ logFile }: Child) => readFileSync(logFile, 'utf8');
const countOf = (client: Child) => linesOf(client).split(' answered ').length - 1;

/** A program of the example, in an environment of its own. */
function start(name: string, program: 'server' | 'client', env: Readonly<Record<string, string>>): Child {
  const words = Object.entries(env).map(([variable, value]) => `${variable}=${value}`);
  const command = ['env', ...words, process.execPath, join(example, `${program}.ts`)];
  return startChild(name, command, { logFile: join(folder, `${name}.log`) });
}

function startClient(name: string, volume: string, expected = serverId): Child {
  const env = {
    SPIFFE_CREDENTIALS: volume,
    SERVER: `localhost:${port}`,
    SERVER_ID: expected,
    INTERVAL_MS: '5',
  };
  return start(name, 'client', env);
}

async function whileRunning(client: Child, act: (client: Child) => Promise<void>): Promise<void> {
  try {
    await act(client);
  } finally {
    await client.stop();
  }
}

describe('the greeter of manifests/examples', () => {
  it('the greeter imports only what the npm package exports', () => {
    const programs = ['service', 'server', 'client'].map((name) =>
      readFileSync(join(example, `${name}.ts`), 'utf8'),
    );
    const imported = [...programs.join('').matchAll(/ from 'kubespiffe\/(.+)'/g)].map(([, name]) => name);
    assert.deepEqual(new Set(imported).difference(new Set<string | undefined>(exported)), new Set());
    assert.ok(imported.includes('x509-source'));
  });

  it('the greeter greets two clients at the same time, each by its own SPIFFE ID', async () => {
    const greeted = [clientId, otherId].map(async (id, index) => {
      const client = startClient(`client-${index}`, newVolume(folder, await filesOf(id)));
      await whileRunning(client, async () => {
        await waitFor('greetings', () => countOf(client) >= 50, { needs: [client] });
        assert.ok(linesOf(client).includes(`${serverId} answered ${id}: Hello number 1\n`));
        assert.ok(linesOf(server).includes(`${id} asked ${serverId} to greet "number 50"\n`));
      });
    });
    await Promise.all(greeted);
    assert.doesNotMatch(linesOf(server), /undefined/);
  });

  it('server and client of the greeter renew their certificates under a loop of requests, and none fails', async () => {
    const volume = newVolume(folder, await filesOf(clientId));
    await whileRunning(startClient('under-load', volume), async (client) => {
      for (const [name, each, id] of [
        ['client', volume, clientId],
        ['server', serverVolume, serverId],
      ] as const) {
        const program = name === 'client' ? client : server;
        await waitFor('greetings', () => countOf(client) > 0, { needs: [client] });
        swap(each, await filesOf(id));
        await waitFor(`the renewal of the ${name}`, () => linesOf(program).includes(`renewed: ${id}`));
        const before = countOf(client);
        await waitFor('more greetings', () => countOf(client) > before + 100, { needs: [client] });
      }
      assert.doesNotMatch(linesOf(client), /failed/);
    });
  });

  it('the greeter refuses a client that is not on its list, and both ends report why', async () => {
    const stranger = idOf('stranger');
    const volume = newVolume(folder, await filesOf(stranger));
    await whileRunning(startClient('stranger', volume), async (client) => {
      const refusal = `the peer ${stranger} is refused by rule "authorizer"`;
      await waitFor('the refusal', () => linesOf(server).includes(refusal), { needs: [client] });
      await waitFor('the failure', () => linesOf(client).includes('request 1 failed'), { needs: [client] });
      assert.doesNotMatch(linesOf(client), /answered/);
    });
  });

  it('a client of the greeter refuses a server with another SPIFFE ID than it expects, and reports why', async () => {
    const volume = newVolume(folder, await filesOf(clientId));
    await whileRunning(startClient('mistaken', volume, otherId), async (client) => {
      const refusal = `the peer ${serverId} is refused by rule "authorizer"`;
      await waitFor('the refusal', () => linesOf(client).includes(refusal), { needs: [client] });
    });
  });
});

describe('clients of the greeter in other languages, which ask the Workload API', () => {
  let socket: string;
  let sidecar: Child;
  before(async () => {
    const path = join(folder, 'workload-api.sock');
    socket = `unix://${path}`;
    const volume = newVolume(folder, await filesOf(clientId));
    const command = [launcher, 'workload-api', '--credentials', volume, '--socket', socket];
    sidecar = startChild('sidecar', command, { logFile: join(folder, 'sidecar.log') });
    await waitFor('the socket', () => existsSync(path), { needs: [sidecar] });
  });
  after(() => sidecar?.stop());

  const clients: Readonly<Record<string, () => Promise<string[]>>> = {
    Go: async () => [
      await goBinary({
        name: 'greeter',
        folder: join(example, 'go'),
        title: 'the client of the greeter in Go',
      }),
    ],
    Python: async () => [(await openPySpiffe()).python, '-I', join(example, 'python/client.py')],
  };
  for (const [language, find] of Object.entries(clients)) {
    const greet = async (server: string) => {
      const [program = '', ...words] = await find();
      const env = { SPIFFE_ENDPOINT_SOCKET: socket, SERVER: `localhost:${port}`, SERVER_ID: server };
      return run(program, words, { env: { ...process.env, ...env }, timeout: 60_000 });
    };

    it(`a client in ${language} is greeted by its SPIFFE ID`, async () => {
      assert.equal((await greet(serverId)).stdout, `${serverId} answered ${clientId}: Hello ${language}\n`);
      assert.ok(linesOf(server).includes(`${clientId} asked ${serverId} to greet "${language}"\n`));
    });

    it(`a client in ${language} sends nothing to a server with another SPIFFE ID than it expects`, async () => {
      const before = linesOf(server).split(`greet "${language}"`).length;
      const { stderr } = await greet(otherId).then(
        () => assert.fail('it was greeted'),
        (error: { stderr: string }) => error,
      );
      assert.ok(stderr.includes(serverId), stderr);
      assert.equal(linesOf(server).split(`greet "${language}"`).length, before);
    });
  }
});

describe('the guide of the greeter', () => {
  it('the guide of the greeter runs server and client here, and renews a certificate without a failed request', async (t) => {
    const page = await readPage('docs/guides/greeter.md');
    const blocks = blocksBelow(page, 'On your machine').map(({ code }) => code);
    const [dev = '', server = '', client = '', rotate = '', ...others] = blocks;
    assert.deepEqual(others, []);
    const [devPort = 0, ownPort = 0] = await freePorts(2);
    const parent = mkdtempSync(join(folder, 'machine-'));
    const env = {
      ...process.env,
      ...{ XDG_RUNTIME_DIR: parent, PORT: `${ownPort}`, INTERVAL_MS: '5', CONNECTION_AGE_MS: '200' },
    };
    const startBlock = (name: string, code: string): Child => {
      const command = ['sh', '-c', code.replace(':8443', `:${ownPort}`).replace(/\n(?=bin)/, '\nexec ')];
      const child = startChild(name, command, { logFile: join(parent, `${name}.log`), env, cwd: checkout });
      t.after(() => child.stop());
      return child;
    };
    const running = startBlock('dev', `exec ${dev.trim()} --port ${devPort}`);
    await waitFor('kubespiffe dev', () => linesOf(running).includes('Ctrl-C ends it'), { needs: [running] });
    const greeter = startBlock('guide-server', server);
    await waitFor('the server', () => linesOf(greeter).includes('listening'), { needs: [greeter] });
    const caller = startBlock('guide-client', client);
    await waitFor('answers', () => countOf(caller) > 0, { needs: [caller] });
    await run('sh', ['-ec', rotate], { env, cwd: checkout });
    await waitFor('the renewal', () => linesOf(greeter).includes('renewed:'), { needs: [greeter] });
    const before = countOf(caller);
    await waitFor('more answers', () => countOf(caller) > before + 100, { needs: [caller] });
    assert.doesNotMatch(linesOf(caller), /failed/);
  });
});
