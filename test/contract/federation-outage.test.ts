import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAddressRange } from '../../client/address-range.ts';
import { createAddressRule } from '../../client/address-rule.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { allFederatedTrustDomains } from '../../signer/federation/federated-trust-domain.ts';
import { createRefresher } from '../../signer/federation/refresher.ts';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { createInformer } from '../../signer/kube/informer.ts';
import { realTime, type Time } from '../../signer/kube/time.ts';
import { createTransport, type Transport } from '../../signer/kube/transport.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { failure } from '../../spiffe/pki/result.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { webCredentials } from './bundle-endpoint.ts';
import { aPool } from './installation.ts';

const resourcesPath = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
const hour = 3600;

/** A clock that runs this much faster than the one on the wall, and timers that go with it. */
function acceleratedTime(factor: number): Time {
  const start = Date.now();
  return {
    now: () => start + (Date.now() - start) * factor,
    monotonic: () => performance.now() * factor,
    jitter: () => 0,
    timer: (run, ms) => realTime.timer(run, ms / factor),
  };
}

interface Status {
  readonly sequence: number;
  readonly bundle: string;
  readonly lastSuccessTime: string;
  readonly lastAttemptTime: string;
  readonly nextAttemptTime: string;
  readonly conditions: readonly { type: string; status: string; reason: string; message: string }[];
}

let controlPlane: ControlPlane;
let transport: Transport;
before(async () => {
  controlPlane = await startControlPlane({ controllers: false });
  await controlPlane.kubectl(['apply', '-k', join(import.meta.dirname, '../../manifests/crds')]);
  const { kubeconfig } = controlPlane;
  transport = createTransport({
    time: realTime,
    credentials: await loadCredentials({ time: realTime, kubeconfig, env: {} }),
  });
});
after(async () => {
  await transport?.close();
  await controlPlane?.stop();
});

test('an endpoint that is away for an hour is tried with growing intervals, its bundle stays, and the next one is taken', async () => {
  const compiled = compilePool(await aPool({ trustDomain: 'partner.example' }), 'partner.example');
  assert.ok(compiled.ok);
  const credentials = await webCredentials();
  const [port = 0] = await freePorts(1);
  let sequence = 1;
  const listen = () =>
    new Promise<Server>((resolve) => {
      const server = createServer(credentials, (_, response) => {
        const document = spiffeBundleDocument({ ...compiled.pool, sequence }, 300);
        response.setHeader('connection', 'close').end(document?.bytes);
      });
      server.listen(port, '127.0.0.1', () => resolve(server));
    });
  const server = await listen();

  const time = acceleratedTime(300);
  const seconds = () => time.now() / 1000;
  const quiet = { info() {}, warn() {}, debug() {} };
  const resources = createInformer({ transport, time: realTime, log: quiet }, allFederatedTrustDomains);
  const metrics = createMetrics();
  const refresher = createRefresher({
    ...{ resources, transport, time, ownTrustDomain: 'example.org', log: quiet },
    bundleNameOf: ({ trustDomain }) => trustDomain,
    addresses: createAddressRule([parseAddressRange('127.0.0.0/8') ?? assert.fail()]),
    readTrustBundle: async () => failure('there is none'),
    pool: () => ({ jwt: [], authorities: [], roots: [] }),
    membership: {
      ...{ self: 'a', members: () => ['a'], onChange: () => undefined, synced: Promise.resolve() },
      run: async () => undefined,
    },
    events: { record: () => undefined },
    metrics,
  });
  const attempts = async () => {
    const { values } = await metrics.federationAttempts.get();
    return values.reduce((sum, { value }) => sum + value, 0);
  };
  const stopping = new AbortController();
  const running = Promise.all([resources.run(stopping.signal), refresher.run(stopping.signal)]);

  async function statusOnce(isRight: (ready: string, status: Status) => boolean): Promise<Status> {
    return waitFor('the status', async () => {
      const { status } = (await controlPlane.request('GET', `${resourcesPath}/partner`)).body as {
        status?: Status;
      };
      const ready = status?.conditions.find(({ type }) => type === 'Ready');
      return status && ready && isRight(`${ready.status} ${ready.reason}`, status) && status;
    });
  }
  const since = (earlier: string, later: string) => (Date.parse(later) - Date.parse(earlier)) / 1000;

  try {
    await controlPlane.request('POST', resourcesPath, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'FederatedTrustDomain',
      metadata: { name: 'partner' },
      spec: {
        trustDomain: 'partner.example',
        bundleEndpoint: {
          ...{ url: `https://127.0.0.1:${port}`, profile: 'https_web', caBundle: credentials.cert },
        },
      },
    });
    const first = await statusOnce((ready) => ready === 'True BundleTaken');
    await new Promise((resolve) => server.close(resolve));
    const before = await attempts();
    const held = await statusOnce((ready) => ready === 'True BundleHeld');
    assert.equal(held.bundle, first.bundle);
    const stale = await statusOnce((ready) => ready === 'False BundleStale');
    assert.ok(since(stale.lastSuccessTime, stale.lastAttemptTime) > 3 * 300);

    const endsAt = Date.parse(stale.lastSuccessTime) / 1000 + hour;
    await waitFor('the end of the hour', () => seconds() > endsAt);
    const late = await statusOnce((_, { lastSuccessTime, lastAttemptTime }) => {
      return since(lastSuccessTime, lastAttemptTime) > hour - 300;
    });
    assert.deepEqual([late.bundle, late.sequence], [first.bundle, 1]);
    const unreachable = late.conditions.find(({ type }) => type === 'Unreachable');
    assert.equal(unreachable?.status, 'True');
    assert.match(unreachable.message, /ECONNREFUSED/);
    // Without jitter after 30, 60 and 120 seconds, then every 150.
    const failed = (await attempts()) - before;
    assert.ok(failed >= 12 && failed <= 28, `${failed} attempts in the hour`);
    assert.ok(since(late.lastAttemptTime, late.nextAttemptTime) <= 300);

    sequence = 2;
    const back = await listen();
    const taken = await statusOnce((ready) => ready === 'True BundleTaken');
    assert.equal(taken.sequence, 2);
    back.close();
  } finally {
    stopping.abort();
    await running;
  }
});
