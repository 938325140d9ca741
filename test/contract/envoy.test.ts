import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { exactly } from '../../workload/authorize.ts';
import { createTlsClient } from '../../workload/tls-client.ts';
import { openX509Source } from '../../workload/x509-source.ts';
import { freePorts } from '../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { type Envoy, openEnvoy, serialOf } from '../judges/envoy.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { launcher } from '../tools/run.ts';
import { credentialsFor, newVolume, swap } from '../workload/credentials.ts';

const example = join(import.meta.dirname, '../../manifests/examples/envoy');
const webId = 'spiffe://example.org/ns/envoy/sa/web';
const clientId = 'spiffe://example.org/ns/envoy/sa/client';
const partnerId = 'spiffe://partner.example/client';

let folder: string;
let home: TestCa;
let partner: TestCa;
let startEnvoy: Awaited<ReturnType<typeof openEnvoy>>;
/** The server behind Envoy. It answers with what Envoy says of the client. */
let app: Server;
const started: (() => Promise<void>)[] = [];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-envoy-'));
  home = await makeCa();
  partner = await makeCa({ trustDomain: 'partner.example', subject: 'O=partner.example' });
  writeFileSync(join(folder, 'partner.pem'), partner.pem);
  startEnvoy = await openEnvoy();
  app = createServer(({ headers }, response) => response.end(headers['x-forwarded-client-cert']));
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
});
after(async () => {
  for (const stop of started) await stop();
  app.close();
  rmSync(folder, { recursive: true });
});

/** A pod: what kubelet mounts, the sidecar, and Envoy with a configuration of the example. */
interface Pod {
  readonly envoy: Envoy;
  /** Writes a new certificate of this CA, or other roots, and waits until Envoy has them. */
  rotate(change: { readonly ca?: TestCa; readonly roots?: string }): Promise<void>;
  restartSidecar(): Promise<void>;
  logs(): string;
}

async function startPod(
  name: string,
  id: string,
  config: string,
  isReady?: (envoy: Envoy) => Promise<unknown>,
): Promise<Pod> {
  let mounted = { 'credentials.pem': (await credentialsFor(id, home)).pem, 'roots.pem': home.pem };
  const volume = newVolume(folder, mounted);
  const socket = join(folder, `${name}.sock`);
  const logFile = join(folder, `${name}-sidecar.log`);
  const words = ['workload-api', '--credentials', volume, '--socket', `unix://${socket}`];
  const bundle = `partner.example=${join(folder, 'partner.pem')}`;
  const startSidecar = async (): Promise<Child> => {
    const child = startChild(`${name}-sidecar`, [launcher, ...words, '--bundle', bundle], { logFile });
    await waitFor('the socket', () => /serving the Workload API/.test(child.lastLines(2)), {
      needs: [child],
    });
    return child;
  };
  let sidecar = await startSidecar();
  const envoy = await startEnvoy(name, replaced(config, '/run/workload-api/socket', socket), folder);
  started.push(
    () => envoy.child.stop(),
    () => sidecar.stop(),
  );
  const hasAll = async () => {
    const { own, roots } = await envoy.serials();
    const wanted = mounted['roots.pem'].match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----/g)?.map(serialOf);
    const partnerRoots = roots.filter((serial) => serial === serialOf(partner.pem));
    return (
      own.includes(serialOf(mounted['credentials.pem'])) &&
      wanted?.every((serial) => roots.includes(serial)) &&
      roots.length === partnerRoots.length + wanted.length
    );
  };
  await waitFor(`the secrets of ${name}`, async () => (isReady ? isReady(envoy) : hasAll()) || undefined, {
    needs: [envoy.child, sidecar],
  });
  return {
    envoy,
    async rotate({ ca, roots }) {
      mounted = {
        'credentials.pem': ca ? (await credentialsFor(id, ca)).pem : mounted['credentials.pem'],
        'roots.pem': roots ?? mounted['roots.pem'],
      };
      swap(volume, mounted);
      await waitFor(`the rotation of ${name}`, hasAll, { needs: [envoy.child, sidecar] });
    },
    async restartSidecar() {
      await sidecar.stop();
      sidecar = await startSidecar();
    },
    logs: () => readFileSync(logFile, 'utf8') + readFileSync(envoy.child.logFile, 'utf8'),
  };
}

function replaced(config: string, word: string, by: string): string {
  assert.ok(config.includes(word), word);
  return config.replaceAll(word, by);
}

const read = (file: string) => readFileSync(join(example, file), 'utf8');

async function startWeb(form: string): Promise<Pod & { readonly port: number }> {
  const [port = 0] = await freePorts(1);
  let config = replaced(read('web-envoy.yaml'), 'port_value: 8443', `port_value: ${port}`);
  config = replaced(config, 'port_value: 8080', `port_value: ${(app.address() as AddressInfo).port}`);
  const pod = await startPod(`web-${form}`, webId, replaced(config, 'api_type: GRPC', `api_type: ${form}`));
  return { ...pod, port };
}

/** A client that opens a connection for each request, so that each one is a handshake. */
async function startClient(form: string, web: number): Promise<Pod & { readonly port: number }> {
  const [port = 0] = await freePorts(1);
  let config = replaced(read('client-envoy.yaml'), 'port_value: 8001', `port_value: ${port}`);
  config = replaced(config, 'address: web.envoy.svc', 'address: 127.0.0.1');
  config = replaced(config, 'port_value: 8443', `port_value: ${web}`);
  config = replaced(config, 'max_connection_duration: 600s', 'max_requests_per_connection: 1');
  const pod = await startPod(
    `client-${form}`,
    clientId,
    replaced(config, 'api_type: GRPC', `api_type: ${form}`),
  );
  return { ...pod, port };
}

/** What the server behind the two Envoys answers, or why it does not. */
async function request(port: number): Promise<string> {
  const call = get({ host: '127.0.0.1', port });
  const [response] = await once(call, 'response');
  const body = await text(response);
  return response.statusCode === 200 ? body : `${response.statusCode} ${body}`;
}

/** What an HTTP client with these credentials gets from Envoy, or the alert of TLS. */
async function connectTo(port: number, credentials: string, roots = home.pem): Promise<string> {
  const volume = newVolume(folder, { 'credentials.pem': credentials, 'roots.pem': roots });
  await using source = await openX509Source(volume);
  const socket = createTlsClient({ source, authorize: exactly(webId) }).connect({ host: '127.0.0.1', port });
  try {
    socket.write('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n');
    return await text(socket);
  } catch (error) {
    return (error as Error).message;
  }
}

describe('Envoy with the Workload API by SDS', () => {
  let web: Pod & { readonly port: number };
  before(async () => {
    web = await startWeb('GRPC');
  });

  const peers: [string, string, () => TestCa, boolean][] = [
    ['a client whose ID is in the list', clientId, () => home, true],
    ['a client of the federated trust domain whose ID is in the list', partnerId, () => partner, true],
    ['a client whose ID is not in the list', 'spiffe://example.org/ns/envoy/sa/db', () => home, false],
    ['an ID of our trust domain, signed by the federated one', clientId, () => partner, false],
    ['an ID of the federated trust domain, signed by ours', partnerId, () => home, false],
  ];
  for (const [peer, id, ca, isAccepted] of peers) {
    it(`Envoy with the Workload API ${isAccepted ? 'accepts' : 'refuses'} ${peer}`, async () => {
      const answer = await connectTo(web.port, (await credentialsFor(id, ca())).pem);
      if (isAccepted) assert.match(answer, new RegExp(`^HTTP/1.1 200 .*URI=${id}$`, 's'));
      else assert.match(answer, /alert certificate unknown/);
    });
  }

  it('Envoy loses no request while certificates, roots and the sidecar are replaced', async () => {
    const client = await startClient('DELTA_GRPC', web.port);
    const both = [web, client];
    let isOver = false;
    const answers: string[] = [];
    const loop = async () => {
      while (!isOver) answers.push(await request(client.port).catch(String));
    };
    const loops = [loop(), loop()];

    for (let each = 0; each < 3; each += 1) for (const pod of both) await pod.rotate({ ca: home });
    const next = await makeCa();
    for (const pod of both) await pod.rotate({ roots: home.pem + next.pem });
    for (const pod of both) await pod.rotate({ ca: next });
    for (const pod of both) await pod.rotate({ roots: next.pem });
    for (const pod of both) await pod.restartSidecar();
    for (const pod of both) await pod.rotate({ ca: next });
    const before = answers.length;
    await waitFor('requests after the last change', () => answers.length >= before + 20);
    isOver = true;
    await Promise.all(loops);

    const wrong = answers.filter((answer) => !answer.endsWith(`URI=${clientId}`));
    assert.deepEqual(wrong, [], `of ${answers.length}`);
    assert.ok((await client.envoy.counter('cluster.web.ssl.handshake')) >= answers.length);
    const ofOldRoot = await credentialsFor(clientId, home);
    assert.match(await connectTo(web.port, ofOldRoot.pem, next.pem), /alert certificate unknown/);
    for (const pod of both) {
      assert.equal(await pod.envoy.counter('.update_rejected'), 0);
      assert.doesNotMatch(pod.logs(), /PRIVATE KEY|Envoy cannot use/);
    }
  });

  it('Envoy keeps its secret when it gets one that it cannot use, and the sidecar reports that', async () => {
    const config = replaced(read('client-envoy.yaml'), 'name: default', 'name: ROOTCA');
    const [port = 0] = await freePorts(1);
    const pod = await startPod(
      'confused',
      clientId,
      replaced(config, 'port_value: 8001', `port_value: ${port}`),
      (envoy) => envoy.counter('.update_rejected'),
    );
    await waitFor('the report', () => /warning: Envoy cannot use the secret ROOTCA/.test(pod.logs()));
    assert.doesNotMatch(pod.logs(), /PRIVATE KEY/);
  });
});
