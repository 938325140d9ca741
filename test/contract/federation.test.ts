import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import type { ClusterTrustBundle, Pod } from '../../signer/kube/types.ts';
import { fingerprintsOf } from '../../signer/trust/fingerprints.ts';
import { rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { connectBundleSource } from '../../workload/workload-api.ts';
import { makeCa } from '../authority/authorities.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { openPrograms } from '../cluster/programs.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { x509KeyOf } from '../federation/bundles.ts';
import { type BundleServer, startBundleServer } from '../judges/bundle-server.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { launcher, run } from '../tools/run.ts';
import { newVolume } from '../workload/credentials.ts';
import { serve, svidOf, type TestEndpoint, webCredentials } from './bundle-endpoint.ts';
import { aPool } from './installation.ts';
import { type PageCommands, runCommands } from './page-commands.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import {
  type Answer,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { answerTo, create, createPod, issuedTo, requestFor } from './workloads.ts';

const resources = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
const flags = [
  ...['--federation', 'true', '--federation-allowed-addresses', '127.0.0.0/8'],
  ...['--leaf-pod-identity', 'true', '--token-client-certificates', 'true'],
  ...['--roots-config-map', 'kubespiffe-roots'],
];
const registrations = '/apis/kubespiffe.io/v1alpha1/namespaces/default/workloadregistrations';
const manifests = join(import.meta.dirname, '../../manifests');
const bundlePath = (trustDomain: string) =>
  `/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:peer.${trustDomain}`;

interface Resource {
  metadata: { generation: number; uid: string };
  status?: Record<string, unknown> & {
    observedGeneration?: number;
    observedRefresh?: string;
    conditions?: { type: string; status: string; reason: string; message: string }[];
  };
}

/** A trust domain that is not ours: its pool, and the bundle that it serves. */
async function foreignPool(trustDomain: string, sequence = 1): Promise<Pool> {
  const document: PoolDocument = await aPool({ trustDomain });
  const jwt = await createJwtAuthority({ key: 'es256', now: Math.floor(Date.now() / 1000) });
  const compiled = compilePool(
    { ...document, sequence, authorities: [...document.authorities, jwt] },
    trustDomain,
  );
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}
const bundleOf = (pool: Pool, refreshHint = 30) => String(spiffeBundleDocument(pool, refreshHint)?.bytes);
const rootOf = (pool: Pool) => rootsOf(pool)[0] ?? '';
const rootsOf = ({ roots }: Pool) => roots.map(({ der }) => new X509Certificate(der).fingerprint256).sort();

describe('federation', () => {
  let controlPlane: ControlPlane;
  let judges: Judges;
  let endpoint: TokenSigner;
  let signer: SignerProcess;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let web: BundleServer;
  let webCertificate: string;
  let partner: Pool;
  /** Where an administrator has files. */
  let folder: string;
  let PATH: string;
  const servers: (BundleServer | TestEndpoint)[] = [];

  before(async () => {
    judges = await openJudges();
    controlPlane = await startControlPlane();
    installed = await installTokenEndpoint(controlPlane);
    await controlPlane.kubectl(['apply', '-k', join(manifests, 'crds')]);
    for (const component of ['federation', 'roots-configmap'])
      await controlPlane.kubectl(['apply', '-f', join(manifests, `${component}/rbac.yaml`)]);
    partner = await foreignPool('partner.example', 5);
    const { key, cert } = await webCredentials();
    webCertificate = cert;
    folder = await mkdtemp(join(tmpdir(), 'kubespiffe-federation-'));
    ({ PATH } = await openPrograms(controlPlane, join(folder, 'path')));
    web = await startBundleServer({
      ...{ trustDomain: 'partner.example', bundle: bundleOf(partner), credentials: key + cert },
      hasSvid: false,
    });
    servers.push(web);
    endpoint = await startTokenSigner(installed, { flags });
    signer = endpoint.signer;
    await signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await signer?.child.stop();
    await Promise.all(servers.map((server) => ('stop' in server ? server.stop() : server.close())));
    await controlPlane?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  const federate = (name: string, spec: object) =>
    create<Resource>(controlPlane, resources, {
      ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name }, spec },
    });
  const webEndpoint = (url: string, caBundle = webCertificate) => ({ url, profile: 'https_web', caBundle });

  /** The condition Ready and the status, once it is as expected. */
  async function statusOnce(
    name: string,
    isRight: (ready: string, status: NonNullable<Resource['status']>) => boolean,
  ): Promise<NonNullable<Resource['status']>> {
    let last: unknown;
    return waitFor(`the status of ${name}`, async () => {
      const { status, metadata } = (await controlPlane.request('GET', `${resources}/${name}`))
        .body as Resource;
      last = status;
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      const isNew = status?.observedGeneration === metadata.generation;
      return status && ready && isNew && isRight(`${ready.status} ${ready.reason}`, status) && status;
    }).catch((error) => {
      throw new Error(`${error}: ${JSON.stringify(last)}`);
    });
  }
  const is = (ready: string) => (found: string) => found === ready;
  const says = (status: Resource['status'], type: string) =>
    status?.conditions?.find((each) => each.type === type)?.message ?? '';
  const refresh = (name: string, value: string) =>
    controlPlane.request('PATCH', `${resources}/${name}`, {
      metadata: { annotations: { 'kubespiffe.io/refresh': value } },
    });
  async function publishedRoots(trustDomain: string): Promise<string[] | undefined> {
    const { status, body } = await controlPlane.request('GET', bundlePath(trustDomain));
    if (status !== 200) return undefined;
    const pem = (body as ClusterTrustBundle).spec.trustBundle.match(/-----BEGIN[\s\S]*?-----END.*\n/g) ?? [];
    return pem.map((each) => new X509Certificate(each).fingerprint256).sort();
  }
  const publishedOnce = (trustDomain: string, expected: readonly string[]) =>
    waitFor(`the roots of ${trustDomain}`, async () => {
      const found = await publishedRoots(trustDomain);
      return JSON.stringify(found) === JSON.stringify(expected);
    });

  it('the signer fetches the bundle that go-spiffe serves over https_web, and publishes it for pods', async () => {
    await federate('partner', { trustDomain: 'partner.example', bundleEndpoint: webEndpoint(web.url) });
    const status = await statusOnce('partner', is('True BundleTaken'));
    assert.deepEqual(
      [status.sequence, status.x509Keys, status.jwtKeys, status.clusterTrustBundle],
      [5, 1, 1, 'kubespiffe.io:spiffe:peer.partner.example'],
    );
    assert.equal(typeof status.firstExpiryTime, 'string');
    await publishedOnce('partner.example', [rootOf(partner)]);
    const { labels } = (await controlPlane.request('GET', bundlePath('partner.example'))).body.metadata;
    assert.deepEqual(labels, {
      'app.kubernetes.io/managed-by': 'kubespiffe',
      'k8s.spiffe.io/canarying': 'live',
      'k8s.spiffe.io/workload-trust-domain': 'example.org',
      'k8s.spiffe.io/peer-trust-domain': 'partner.example',
    });
    assert.equal(await signer.metric('kubespiffe_federation_keys', { peer: 'partner.example' }), 2);
    assert.ok(
      (await signer.metric('kubespiffe_federation_bundle_age_seconds', { peer: 'partner.example' })) < 60,
    );
  });

  it('the signer serves the bundle of a peer beside its own one, as go-spiffe reads it', async () => {
    const { json } = await endpoint.call({ path: '/bundles' });
    const bundles = json.trust_domains as Record<string, object>;
    assert.deepEqual(Object.keys(bundles), ['example.org', 'partner.example']);
    for (const [trustDomain, bundle] of Object.entries(bundles)) {
      const verdict = await judges.spiffeBundle({ trustDomain, content: JSON.stringify(bundle) });
      assert.ok(verdict.ok, verdict.errors.join());
      if (trustDomain !== 'partner.example') continue;
      assert.equal(verdict.facts.roots, partner.roots.map(({ sha256Hex }) => sha256Hex).join(' '));
      assert.equal(verdict.facts.sequence, '5');
      assert.notEqual(verdict.facts.kids, '');
    }
  });

  it('the signer reports a fetched bundle in an Event on the resource', async () => {
    await waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const events = (body as { items: { reason: string; regarding: { kind: string; name: string } }[] })
        .items;
      return events.some(
        ({ reason, regarding }) => reason === 'BundleTaken' && regarding.kind === 'FederatedTrustDomain',
      );
    });
  });

  it('the signer follows a rotation of the peer, when it is asked to fetch now', async () => {
    const next = await foreignPool('partner.example', 6);
    const both = {
      ...next,
      roots: [...partner.roots, ...next.roots],
      authorities: [...partner.authorities, ...next.authorities],
    };
    await web.setBundle(bundleOf(both));
    await refresh('partner', 'rotation');
    await statusOnce('partner', (_, { sequence }) => sequence === 6);
    await publishedOnce('partner.example', [rootOf(partner), rootOf(next)].sort());
    partner = both;
  });

  it('the signer keeps the bundle, with the reason, when the peer serves an older or invalid one, or no roots', async () => {
    const older = bundleOf({ ...partner, sequence: 4 });
    const { keys, ...others } = JSON.parse(bundleOf(partner)) as { keys: { use: string }[] };
    const empty = JSON.stringify({ ...others, keys: keys.filter(({ use }) => use === 'jwt-svid') });
    for (const [name, text, reason, message] of [
      ['older', older, 'BundleSequenceWentBack', /its sequence is 4, after 6/],
      ['empty', empty, 'BundleWithoutRoots', /it has no root, after 2/],
    ] as const) {
      await web.setBundle(text);
      await refresh('partner', name);
      const status = await statusOnce(
        'partner',
        (ready, { observedRefresh }) => ready === 'True BundleHeld' && observedRefresh === name,
      );
      assert.equal(status.conditions?.find(({ type }) => type === 'BundleInvalid')?.reason, reason);
      assert.match(says(status, 'BundleInvalid'), message);
      assert.equal(status.sequence, 6);
    }
    // go-spiffe's handler then answers with 500.
    await web.setBundle('<html>');
    await refresh('partner', 'html');
    const status = await statusOnce(
      'partner',
      (ready, { observedRefresh }) => ready === 'True BundleHeld' && observedRefresh === 'html',
    );
    assert.match(says(status, 'Unreachable'), /answered with status 500/);
    assert.deepEqual(await publishedRoots('partner.example'), rootsOf(partner));
    await web.setBundle(bundleOf(partner));
    await refresh('partner', 'well again');
    await statusOnce('partner', is('True BundleTaken'));
  });

  it('the signer keeps the bundle while the web certificate of the peer has expired, and accepts the next one', async () => {
    const old = await webCredentials({ lifetimeSeconds: -10 });
    const { key, cert } = await webCredentials();
    const trusting = (caBundle: string) =>
      controlPlane.request('PATCH', `${resources}/partner`, { spec: { bundleEndpoint: { caBundle } } });
    await web.setCredentials(old.key + old.cert);
    await trusting(old.cert);
    const expired = await statusOnce('partner', is('True BundleHeld'));
    assert.match(says(expired, 'Unreachable'), /certificate has expired/);
    assert.deepEqual(await publishedRoots('partner.example'), rootsOf(partner));
    assert.equal(
      await signer.metric('kubespiffe_federation_problem', {
        ...{ peer: 'partner.example', condition: 'Unreachable' },
      }),
      1,
    );
    await web.setCredentials(key + cert);
    await trusting(cert);
    await statusOnce('partner', is('True BundleTaken'));
    webCertificate = cert;
  });

  /**
   * Runs commands of a page as an administrator.
   *
   * @param host the URL of another trust domain, and what it is here: on this machine, which has to be allowed.
   */
  const follow = (commands: PageCommands, [url, at]: [string, string] = ['', '']) => {
    const allowed = '--allow-addresses 127.0.0.0/8';
    const here = (code: string) =>
      code.replace(url || '\0', `${at} ${allowed}`).replace('diff partner', `diff partner ${allowed}`);
    const env = { PATH, KUBECONFIG: controlPlane.kubeconfig, NODE_EXTRA_CA_CERTS: join(folder, 'web.pem') };
    return runCommands(commands, { env, here, cwd: folder });
  };

  /** The command as an administrator runs it. */
  const tool = (...args: string[]) => run(['federation', ...args, '--kubeconfig', controlPlane.kubeconfig]);

  it('federation list and show print what is in use, by name and by trust domain', async () => {
    const listed = await tool('list');
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, /^partner +partner\.example +True +BundleTaken +6 +2 +1 +(now|\d+s ago)$/m);
    for (const name of ['partner', 'partner.example']) {
      const { code, stdout, stderr } = await tool('show', name);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^Published as: +kubespiffe\.io:spiffe:peer\.partner\.example$/m);
      for (const { sha256Hex } of partner.roots) {
        assert.match(stdout, new RegExp(`^root SHA-256 ${sha256Hex} +in \\d+d`, 'm'));
      }
    }
    const { code, stdout, stderr } = await tool('show', 'nobody.example');
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(
      stderr,
      /^error: there is no FederatedTrustDomain .* nobody\.example\nhint: .*federation list/,
    );
  });

  it('federation refresh makes the signer fetch, and reports the result', async () => {
    await web.setBundle(bundleOf({ ...partner, sequence: 7 }));
    const diff = () => tool('diff', 'partner', '--allow-addresses', '127.0.0.0/8');
    const before = await diff();
    assert.equal(before.code, 1, before.stderr);
    assert.match(before.stdout, /^Sequence: +served 7, stored 6$/m);
    const taken = await tool('refresh', 'partner', '-o', 'json');
    assert.equal(taken.code, 0, taken.stderr);
    assert.equal(JSON.parse(taken.stdout).bundle.sequence, 7);
    const after = await diff();
    assert.equal(after.code, 0, after.stdout);
    for (const { sha256Hex } of partner.roots) {
      assert.match(after.stdout, new RegExp(`^root SHA-256 ${sha256Hex} +yes +yes +yes$`, 'm'));
    }
    assert.match(after.stdout, /^JWT key \S+ +yes +yes +-$/m);
    await web.setBundle(bundleOf(partner));
    const { code, stdout } = await tool('refresh', 'partner.example');
    assert.equal(code, 1, stdout);
    assert.match(stdout, /^BundleInvalid +True +BundleSequenceWentBack .*its sequence is 6, after 7/m);
    const older = await diff();
    assert.equal(older.code, 1);
    assert.match(older.stderr, /^error: The bundle was not taken: its sequence is 6, after 7/);
    partner = { ...partner, sequence: 7 };
    await web.setBundle(bundleOf(partner));
    const page = { page: 'docs/guides/federation.md', heading: 'Look at it', block: 1 };
    await follow({ ...page, prints: /^Sequence: +served 7, stored 7$[\s\S]+ BundleTaken /m });
  });

  it('federation check prints a resource from the endpoint of the peer, and the first resource counts', async () => {
    await writeFile(join(folder, 'web.pem'), webCertificate);
    const page = { page: 'docs/reference/cli.md', heading: 'kubespiffe federation check' };
    await follow({ ...page, prints: /federatedtrustdomain\S* created/ }, [
      'https://bundle.partner.example/bundle',
      web.url,
    ]);
    const second = await statusOnce('partner.example', (ready) => !ready.startsWith('True'));
    assert.match(JSON.stringify(second.conditions), /partner/);
    await controlPlane.request('DELETE', `${resources}/partner.example`);
    await statusOnce('partner', is('True BundleTaken'));
  });

  it('the signer fetches from an endpoint of go-spiffe with an SVID, first by the bootstrap bundle', async () => {
    const first = await foreignPool('spire.example', 1);
    const second = await foreignPool('spire.example', 2);
    const path = ['spire', 'server'];
    const svid = async (pool: Pool, segments = path) => {
      const signing = signingAuthorityAt(pool, Math.floor(Date.now() / 1000), 0);
      assert.ok(signing.ok);
      const { key, cert } = await svidOf(signing.authority, segments);
      return key + cert;
    };
    const server = await startBundleServer({
      ...{ trustDomain: 'spire.example', bundle: bundleOf(first), credentials: await svid(first) },
      hasSvid: true,
    });
    servers.push(server);
    await writeFile(join(folder, 'spire.pem'), rootsPem(first)?.bytes ?? '');
    const page = { page: 'docs/guides/federation.md', heading: 'With SPIRE' };
    const created = /federatedtrustdomain\S* created/;
    await follow({ ...page, prints: created }, ['https://spire.example:8443', server.url]);
    await statusOnce('spire.example', is('True BundleTaken'));
    // The endpoint's own trust domain rotates: first the bundle has both roots, then the endpoint uses the new one.
    const both = {
      ...second,
      roots: [...first.roots, ...second.roots],
      authorities: [...first.authorities, ...second.authorities],
    };
    await server.setBundle(bundleOf(both));
    await refresh('spire.example', 'both');
    await statusOnce('spire.example', (_, { sequence }) => sequence === 2);
    await server.setCredentials(await svid(second));
    await refresh('spire.example', 'second');
    const status = await statusOnce(
      'spire.example',
      (ready, { observedRefresh }) => ready === 'True BundleTaken' && observedRefresh === 'second',
    );
    assert.equal(status.x509Keys, 2);
    // An SVID of another workload of that trust domain is not the endpoint.
    await server.setCredentials(await svid(second, ['other']));
    await refresh('spire.example', 'other');
    const refused = await statusOnce('spire.example', is('True BundleHeld'));
    assert.match(
      says(refused, 'Unreachable'),
      /it is spiffe:\/\/spire\.example\/other, not spiffe:\/\/spire\.example\/spire\/server/,
    );
  });

  it('the signer takes a bundle that is written into the resource, for a peer without a network path', async () => {
    const offline = await foreignPool('offline.example');
    await federate('offline', { trustDomain: 'offline.example', bundle: bundleOf(offline) });
    await statusOnce('offline', is('True BundleTaken'));
    await publishedOnce('offline.example', [rootOf(offline)]);
  });

  it('the signer takes roots from a ClusterTrustBundle that another controller keeps, and follows it', async () => {
    const [old, next] = [await foreignPool('brought.example'), await foreignPool('brought.example')];
    const pemOf = (...pools: Pool[]) =>
      pools.flatMap(({ roots }) => roots.map(({ der }) => encodePem('CERTIFICATE', der))).join('');
    const bundles = '/apis/certificates.k8s.io/v1/clustertrustbundles';
    await create(controlPlane, bundles, { metadata: { name: 'brought' }, spec: { trustBundle: pemOf(old) } });
    await federate('brought', { trustDomain: 'brought.example', clusterTrustBundle: 'brought' });
    await statusOnce('brought', is('True BundleTaken'));
    await publishedOnce('brought.example', [rootOf(old)]);
    await controlPlane.request('PATCH', `${bundles}/brought`, { spec: { trustBundle: pemOf(old, next) } });
    await refresh('brought', 'both');
    await publishedOnce('brought.example', [rootOf(old), rootOf(next)].sort());
    await controlPlane.request('DELETE', `${bundles}/brought`);
    await refresh('brought', 'gone');
    const status = await statusOnce(
      'brought',
      (ready, { observedRefresh }) => ready === 'True BundleHeld' && observedRefresh === 'gone',
    );
    assert.match(says(status, 'Unreachable'), /"brought" not found/);
  });

  it('a workload gets the bundles that its registration names, and the others those of the setting', async () => {
    const registered = await createPod(controlPlane, { labels: { app: 'federated' } });
    const other = await createPod(controlPlane);
    await create(controlPlane, registrations, {
      ...{
        apiVersion: 'kubespiffe.io/v1alpha1',
        kind: 'WorkloadRegistration',
        metadata: { name: 'federated' },
      },
      spec: {
        podSelector: { matchLabels: { app: 'federated' } },
        spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/federated',
        federatesWith: ['spire.example', 'unknown.example'],
      },
    });
    const as = async (pod: Pod, path = '/bundles') =>
      endpoint.call({
        path,
        headers: { authorization: `Bearer ${await tokenFor(controlPlane, pod)}` },
      });
    const namesOf = ({ json }: Answer) => Object.keys((json.trust_domains as object) ?? json);
    await waitFor('the registration', async () => namesOf(await as(registered)).length === 2);
    const answer = await as(registered);
    assert.deepEqual(namesOf(answer), ['example.org', 'spire.example']);
    assert.match(String(answer.headers['cache-control']), /^private/);
    const everyone = namesOf(await as(other));
    assert.ok(everyone.includes('partner.example') && everyone.includes('spire.example'));
    assert.deepEqual(namesOf(await endpoint.call({ path: '/bundles' })), everyone);

    const one = await as(registered, '/bundles/spire.example');
    const verdict = await judges.spiffeBundle({ trustDomain: 'spire.example', content: one.text });
    assert.equal(verdict.facts.sequence, '2', verdict.errors.join());
    const refused = await as(registered, '/bundles/partner.example');
    assert.deepEqual([refused.status, refused.json.reason], [404, 'TrustDomainNotFederated']);
    assert.match(String(refused.json.error_description), /the registration default\/federated/);
    assert.equal((await as(other, '/bundles/partner.example')).status, 200);
    const bad = await endpoint.call({ path: '/bundles', headers: { authorization: 'Bearer a.b.c' } });
    assert.deepEqual([bad.status, bad.json.reason], [400, 'TokenMalformed'], 'a bad credential is not none');
  });

  it('go-spiffe gets the bundles by the Workload API, for the certificate of the pod', async () => {
    const pod = await createPod(controlPlane, { labels: { app: 'federated' } });
    const { key, cert } = await issuedTo(controlPlane, pod);
    const roots = endpoint.pool.authorities.flatMap(({ certificate }) => certificate ?? []).join('');
    const folder = await mkdtemp(join(tmpdir(), 'federated-'));
    const volume = newVolume(folder, { 'credentials.pem': key + cert, 'roots.pem': roots });
    const uri = `unix://${folder}/socket`;
    const sidecar = startChild(
      'workload-api',
      [
        ...[launcher, 'workload-api', '--socket', uri, '--credentials', volume],
        ...['--token-endpoint', `https://localhost:${endpoint.port}`],
      ],
      { logFile: join(folder, 'log') },
    );
    try {
      const bundles = await waitFor(
        'the bundles by the Workload API',
        async () => {
          await using source = await connectBundleSource(uri, { timeoutMs: 5_000 });
          // Roots and JWT keys come in streams of their own.
          const spire = source.bundles.get('spire.example');
          return spire?.jwtKeys.size === 1 && spire.roots.length === 2 && source.bundles;
        },
        { needs: [sidecar] },
      );
      assert.deepEqual([...bundles.keys()].sort(), ['example.org', 'spire.example']);
      const [seen] = await judges.workloadApiUpdates({ address: uri, updates: 1 });
      assert.deepEqual(seen?.facts['x509-bundles']?.split(' ').sort(), ['example.org', 'spire.example']);
    } finally {
      await sidecar.stop();
      await rm(folder, { recursive: true });
    }
  });

  it('the signer serves other peers and issues while one endpoint hangs and another one sends a wrong bundle', async () => {
    const { key, cert } = await webCredentials();
    const liar = await foreignPool('other.example');
    const server = await serve(
      { key, cert },
      {
        '/hangs': {
          body: async function* () {
            yield '{';
            await new Promise(() => undefined);
          },
        },
        '/lies': { body: bundleOf(liar) },
        '/elsewhere': { status: 302, headers: { location: web.url } },
        '/huge': { body: ' '.repeat(1024 * 1024 + 1) },
        '/page': { body: '<!doctype html>' },
        '/unchanged': { status: 304 },
      },
    );
    servers.push(server);
    const cases = [
      [
        'lies',
        'False BundleMalformed',
        /has the name "spiffe:\/\/other\.example", not spiffe:\/\/lies\.example/,
      ],
      [
        'elsewhere',
        'False EndpointUnreachable',
        /redirects to https:\/\/127\.0\.0\.1:\d+; only redirects within one origin/,
      ],
      ['huge', 'False EndpointUnreachable', /the answer is longer than 1048576 bytes/],
      ['page', 'False BundleMalformed', /the bundle is not JSON/],
      ['unchanged', 'False EndpointUnreachable', /answered with status 304/],
    ] as const;
    for (const name of ['hangs', ...cases.map(([name]) => name)]) {
      await federate(name, {
        trustDomain: `${name}.example`,
        bundleEndpoint: webEndpoint(`${server.url}/${name}`, cert),
      });
    }
    for (const [name, ready, message] of cases) {
      assert.match(says(await statusOnce(name, is(ready)), 'Ready'), message);
      assert.equal(await publishedRoots(`${name}.example`), undefined);
    }
    const hanging = (await controlPlane.request('GET', `${resources}/hangs`)).body as Resource;
    assert.equal(hanging.status, undefined);
    await refresh('partner', 'while one hangs');
    await statusOnce('partner', (_, { observedRefresh }) => observedRefresh === 'while one hangs');
    const { certificateChain } = await answerTo(
      controlPlane,
      await requestFor(controlPlane, await createPod(controlPlane)),
    );
    assert.ok(certificateChain);
  });

  it('the signer refuses addresses of the machine itself, unless they are allowed', async () => {
    await federate('metadata', {
      trustDomain: 'metadata.example',
      bundleEndpoint: { url: 'https://169.254.169.254/latest', profile: 'https_web' },
    });
    const status = await statusOnce('metadata', is('False EndpointUnreachable'));
    assert.match(says(status, 'Unreachable'), /the address 169\.254\.169\.254 is one of the machine itself/);
  });

  it('the signer does not federate its own trust domain, and uses the first of two resources', async () => {
    await federate('own', { trustDomain: 'example.org', bundleEndpoint: webEndpoint(web.url) });
    await statusOnce('own', is('False OwnTrustDomain'));
    await waitFor('a later second', async () => {
      const { creationTimestamp } = (await controlPlane.request('GET', `${resources}/offline`)).body.metadata;
      return Date.parse(creationTimestamp) + 1000 < Date.now();
    });
    const other = await foreignPool('offline.example', 9);
    await federate('again', { trustDomain: 'offline.example', bundle: bundleOf(other) });
    const status = await statusOnce('again', is('False TrustDomainConflict'));
    assert.match(says(status, 'Ready'), /FederatedTrustDomain offline was created earlier/);
    assert.equal(await publishedRoots('example.org'), undefined);
    await controlPlane.request('DELETE', `${resources}/offline`);
    await statusOnce('again', is('True BundleTaken'));
    await publishedOnce('offline.example', [rootOf(other)]);
  });

  it('roots of a deleted resource go, also while another one that was never fetched takes its place', async () => {
    const goes = () =>
      waitFor('the bundle to go', async () => (await publishedRoots('stolen.example')) === undefined);
    const stolen = { trustDomain: 'stolen.example', bundle: bundleOf(await foreignPool('stolen.example')) };
    const never = { trustDomain: 'stolen.example', bundleEndpoint: webEndpoint('https://127.0.0.1:1/') };
    const unreachable = is('False EndpointUnreachable');

    await federate('stolen-a', stolen);
    await statusOnce('stolen-a', is('True BundleTaken'));
    await federate('stolen-b', never);
    await statusOnce('stolen-b', is('False TrustDomainConflict'));
    await waitFor('the bundle', () => publishedRoots('stolen.example'));
    await controlPlane.request('DELETE', `${resources}/stolen-a`);
    await goes();
    await statusOnce('stolen-b', unreachable);

    await controlPlane.request('DELETE', `${resources}/stolen-b`);
    await federate('stolen-a', stolen);
    await waitFor('the bundle', () => publishedRoots('stolen.example'));
    await controlPlane.request('DELETE', `${resources}/stolen-a`);
    await federate('stolen-a', never);
    await goes();
    await statusOnce('stolen-a', unreachable);
    await controlPlane.request('DELETE', `${resources}/stolen-a`);
  });

  /** An endpoint that answers when it is told to, and how often it was asked. */
  async function patientEndpoint(body: string) {
    const credentials = await webCredentials();
    const waiting: (() => void)[] = [];
    const server = createServer(credentials, (_request, response) => {
      waiting.push(() => void response.end(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push({ url: '', close: async () => void server.close() });
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return {
      bundleEndpoint: webEndpoint(url, credentials.cert),
      asked: () => waitFor('a fetch', async () => waiting.length > 0),
      answer() {
        for (const answer of waiting.splice(0)) answer();
      },
    };
  }

  it('a fetched bundle is not used if its resource was changed meanwhile', async () => {
    const [old, next] = [await foreignPool('changes.example', 1), await foreignPool('changes.example', 2)];
    const server = await patientEndpoint(bundleOf(old));
    await federate('changes', { trustDomain: 'changes.example', bundleEndpoint: server.bundleEndpoint });
    await server.asked();
    await controlPlane.request('PATCH', `${resources}/changes`, {
      spec: { bundleEndpoint: null, bundle: bundleOf(next) },
    });
    // The watch shows the change before the answer of the old endpoint comes.
    await waitFor('the change', async () => {
      const { body } = await controlPlane.request('GET', `${resources}/changes`);
      return (body as Resource).metadata.generation === 2;
    });
    server.answer();
    const status = await statusOnce('changes', is('True BundleTaken'));
    assert.equal(status.sequence, 2);
    await publishedOnce('changes.example', [rootOf(next)]);
  });

  it('a fetched bundle is not used if its resource was deleted meanwhile', async () => {
    const pool = await foreignPool('leaves.example');
    const server = await patientEndpoint(bundleOf(pool));
    await federate('leaves', { trustDomain: 'leaves.example', bundleEndpoint: server.bundleEndpoint });
    await server.asked();
    await controlPlane.request('DELETE', `${resources}/leaves`);
    server.answer();
    // Another resource that is handled after it shows that nothing of it was written.
    const later = await foreignPool('later.example');
    await federate('later', { trustDomain: 'later.example', bundle: bundleOf(later) });
    await publishedOnce('later.example', [rootOf(later)]);
    assert.equal(await publishedRoots('leaves.example'), undefined);
    assert.equal((await controlPlane.request('GET', `${resources}/leaves`)).status, 404);
  });

  it('another cluster of the trust domain is in bundle and trust bundles, until its resource is deleted', async () => {
    const sibling = await foreignPool('example.org', 3);
    const { key, cert } = await webCredentials();
    const server = await startBundleServer({
      ...{ trustDomain: 'example.org', bundle: bundleOf(sibling), credentials: key + cert },
      hasSvid: false,
    });
    servers.push(server);
    /** The bundle of the own trust domain as go-spiffe reads it. */
    const own = async (path = '/bundle') => {
      const { text } = await endpoint.call({ path });
      const { facts, errors, ok } = await judges.spiffeBundle({ trustDomain: 'example.org', content: text });
      assert.ok(ok, errors.join());
      return {
        roots: (facts.roots ?? '').split(' '),
        kids: (facts.kids ?? '').split(' '),
        sequence: Number(facts.sequence),
      };
    };
    const alone = await own();
    const siblingRoot = sibling.roots[0]?.sha256Hex ?? '';
    const isIn = ({ roots }: { roots: string[] }) => roots.includes(siblingRoot);
    await federate('sibling', {
      ...{ trustDomain: 'example.org', peerOf: 'self', bundleEndpoint: webEndpoint(server.url, cert) },
    });
    const status = await statusOnce('sibling', is('True BundleTaken'));
    assert.equal(status.clusterTrustBundle, 'kubespiffe.io:spiffe:self.sibling');
    await waitFor('the bundle of both', async () => isIn(await own()));
    const both = await own();
    assert.deepEqual(both.roots.toSorted(), [...alone.roots, siblingRoot].sort());
    assert.ok(both.kids.includes(sibling.jwt[0]?.kid ?? '') && both.sequence > alone.sequence);
    assert.deepEqual(await own('/bundle/cluster'), alone, 'what siblings read is this cluster alone');

    // Kubelet joins what a selector finds: the roots of this cluster, and those of the other one.
    for (const canarying of ['live', 'preview']) {
      const selector =
        `k8s.spiffe.io/canarying=${canarying},k8s.spiffe.io/workload-trust-domain=example.org,` +
        'k8s.spiffe.io/peer-trust-domain=example.org';
      const { body } = await controlPlane.request(
        'GET',
        `/apis/certificates.k8s.io/v1/clustertrustbundles?labelSelector=${encodeURIComponent(selector)}`,
      );
      const { items } = body as { items: ClusterTrustBundle[] };
      const roots = new Set(items.flatMap(({ spec }) => [...fingerprintsOf(spec.trustBundle)]));
      assert.deepEqual([...roots].sort(), both.roots.toSorted(), canarying);
    }

    // A third cluster comes and goes; the second one stays.
    const third = await foreignPool('example.org', 1);
    await federate('third', { trustDomain: 'example.org', peerOf: 'self', bundle: bundleOf(third) });
    const thirdRoot = third.roots[0]?.sha256Hex ?? '';
    const all = await waitFor('the bundle of three', async () => {
      const now = await own();
      return now.roots.includes(thirdRoot) && now;
    });
    assert.deepEqual(all.roots.toSorted(), [...both.roots, thirdRoot].sort());
    assert.ok(all.kids.includes(third.jwt[0]?.kid ?? '') && all.sequence > both.sequence);
    await controlPlane.request('DELETE', `${resources}/third`);
    const two = await waitFor('the bundle of two', async () => {
      const now = await own();
      return !now.roots.includes(thirdRoot) && now;
    });
    assert.deepEqual({ ...two, sequence: 0 }, { ...both, sequence: 0 });
    assert.ok(two.sequence > all.sequence);

    // It is gone for a while, or gives what is ours back: nothing changes.
    await server.setBundle((await endpoint.call({ path: '/bundle' })).text);
    await refresh('sibling', 'echo');
    const echo = await statusOnce('sibling', is('True BundleHeld'));
    assert.match(says(echo, 'BundleInvalid'), /the JWT key .* of this cluster.*\/bundle\/cluster/);
    await server.stop();
    await refresh('sibling', 'gone');
    await statusOnce(
      'sibling',
      (ready, now) => ready === 'True BundleHeld' && now.observedRefresh === 'gone',
    );
    assert.deepEqual(await own(), two);

    await controlPlane.request('DELETE', `${resources}/sibling`);
    await waitFor('the bundle of one', async () => !isIn(await own()));
    const after = await own();
    assert.ok(after.sequence > two.sequence, `${after.sequence} after ${two.sequence}`);
    assert.deepEqual({ ...after, sequence: 0 }, { ...alone, sequence: 0 });
    const self = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:self.sibling';
    for (const name of [self, self.replace('self.', 'self-preview.')])
      await waitFor(`${name} to go`, async () => (await controlPlane.request('GET', name)).status === 404);
  });

  it('the old CA of the own trust domain is trusted by a ClusterTrustBundle, for a migration', async () => {
    const now = Math.floor(Date.now() / 1000);
    const old = await makeCa({ subject: 'CN=old', uris: [], notBefore: now - 60, notAfter: now + 86_400 });
    const bundles = '/apis/certificates.k8s.io/v1/clustertrustbundles';
    const [block] = blocksBelow(
      await readPage('docs/coming-from/csi-driver-spiffe.md'),
      'If the old root must sign nothing new',
    );
    const objects =
      block?.code.replace(/^.*<<END\n|^END\n/gm, '').replaceAll('my.trust.domain', 'example.org') ?? '';
    const indented = old.certificate.trim().replaceAll(/^/gm, '    ');
    await controlPlane.kubectl(['apply', '-f', '-'], { input: objects.replace(/^\$\(sed .*$/m, indented) });
    const status = await statusOnce('csi-driver-spiffe', is('True BundleTaken'));
    assert.equal(status.clusterTrustBundle, 'kubespiffe.io:spiffe:self.csi-driver-spiffe');
    const { body } = await waitFor('the old root', async () => {
      const answer = await controlPlane.request('GET', `${bundles}/${status.clusterTrustBundle}`);
      return answer.status === 200 && answer;
    });
    assert.deepEqual([...fingerprintsOf(body.spec.trustBundle)], [...fingerprintsOf(old.certificate)]);
    assert.equal(body.metadata.labels['k8s.spiffe.io/canarying'], 'live');
    assert.equal(body.metadata.labels['k8s.spiffe.io/peer-trust-domain'], 'example.org');
    await controlPlane.request('DELETE', `${resources}/csi-driver-spiffe`);
    await waitFor(
      'the old root to go',
      async () =>
        (await controlPlane.request('GET', `${bundles}/${status.clusterTrustBundle}`)).status === 404,
    );
  });

  it('a paused resource keeps its bundle published, and nothing is fetched', async () => {
    await controlPlane.request('PATCH', `${resources}/partner`, { spec: { paused: true } });
    const status = await statusOnce('partner', is('True Paused'));
    assert.equal(status.nextAttemptTime, undefined);
    assert.ok(await publishedRoots('partner.example'));
    await controlPlane.request('PATCH', `${resources}/partner`, { spec: { paused: false } });
    await statusOnce('partner', is('True BundleTaken'));
  });

  it('the signer restores a published bundle that was changed or deleted', async () => {
    await controlPlane.request('DELETE', bundlePath('partner.example'));
    await publishedOnce('partner.example', rootsOf(partner));
  });

  /** Our own roots, and those of partners, each in a file of its own. */
  async function rootsConfigMap(namespace: string): Promise<Record<string, string>> {
    const path = `/api/v1/namespaces/${namespace}/configmaps/kubespiffe-roots`;
    const { body } = await controlPlane.request('GET', path);
    return (body as { data?: Record<string, string> }).data ?? {};
  }

  it('the roots of each peer are in the ConfigMap of a namespace that takes roots, in a separate file', async () => {
    const labels = { 'kubespiffe.io/roots': 'true' };
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'takes-roots', labels } });
    const data = await waitFor('the ConfigMap', async () => {
      const found = await rootsConfigMap('takes-roots');
      return 'peer.partner.example.pem' in found && found;
    });
    assert.deepEqual(
      [...fingerprintsOf(data['peer.partner.example.pem'] ?? '')].sort(),
      partner.roots.map(({ sha256Hex }) => sha256Hex).sort(),
    );
    assert.equal(data['roots.pem'], (await endpoint.call({ path: '/roots.pem' })).text);
    assert.ok('peer.spire.example.pem' in data);
  });

  it('the commands of the runbook end the trust: the bundle goes, and pods that keep the roots are listed', async () => {
    const pod = (name: string, clusterTrustBundle: object) =>
      create(controlPlane, '/api/v1/namespaces/default/pods', {
        metadata: { name },
        spec: {
          containers: [{ name: 'app', image: 'none' }],
          volumes: [
            {
              name: 'spiffe',
              projected: { sources: [{ clusterTrustBundle: { path: 'roots.pem', ...clusterTrustBundle } }] },
            },
          ],
        },
      });
    const selected = (selector: object, signerName = 'kubespiffe.io/spiffe') => ({
      signerName,
      labelSelector: selector,
    });
    const key = 'k8s.spiffe.io/peer-trust-domain';
    const partners = { matchLabels: { [key]: 'partner.example' } };
    await pod('keeps-by-label', selected(partners));
    await pod('keeps-by-expression', selected({ matchExpressions: [{ key, operator: 'Exists' }] }));
    await pod('keeps-by-name', { name: 'kubespiffe.io:spiffe:peer.partner.example' });
    await pod('gives-up', { ...selected(partners), optional: true });
    await pod('has-own', selected({ matchLabels: { [key]: 'example.org' } }));
    await pod('has-dns', selected({ matchLabels: { any: 'label' } }, 'kubespiffe.io/service-dns'));

    const page = await readPage('docs/security/federation.md');
    const kubectl = (controlPlane.binaries.command('kubectl') ?? []).join(' ');
    const [end, list] = await Promise.all(
      blocksBelow(page, 'A peer is compromised').map(({ code }) =>
        run(['-c', `kubectl() { ${kubectl} "$@"; }\n${code}`], {
          ...{ file: '/bin/sh', env: { KUBECONFIG: controlPlane.kubeconfig } },
        }),
      ),
    );
    assert.deepEqual([end?.code, list?.code], [0, 0], `${end?.stderr}${list?.stderr}`);
    assert.match(end?.stdout ?? '', /"partner" deleted/);
    assert.deepEqual(list?.stdout.trim().split('\n').sort(), [
      'default/keeps-by-expression',
      'default/keeps-by-label',
      'default/keeps-by-name',
    ]);
    await waitFor('the bundle to go', async () => (await publishedRoots('partner.example')) === undefined);
    const { json } = await endpoint.call({ path: '/bundles' });
    assert.ok(!('partner.example' in (json.trust_domains as object)));
    await waitFor('the file to go', async () => {
      const data = await rootsConfigMap('takes-roots');
      return 'roots.pem' in data && !('peer.partner.example.pem' in data);
    });
    assert.ok(await publishedRoots('spire.example'));
  });

  it('the signer gives only the bundles that a registration names, if the setting excludes the others', async () => {
    const strict = await startTokenSigner(installed, {
      ...{ replica: 'signer-strict', flags: [...flags, '--federate-by-default', 'none'] },
    });
    await strict.signer.ready();
    const namesFor = async (headers: Record<string, string>) => {
      const { status, json } = await strict.call({ path: '/bundles', headers });
      assert.equal(status, 200);
      return Object.keys(json.trust_domains as object);
    };
    const as = async (pod: Pod) => ({ authorization: `Bearer ${await tokenFor(controlPlane, pod)}` });
    const registered = await as(await createPod(controlPlane, { labels: { app: 'federated' } }));
    await waitFor('the bundles of a registration', async () => (await namesFor(registered)).length === 2);
    assert.deepEqual(await namesFor(registered), ['example.org', 'spire.example']);
    assert.deepEqual(await namesFor(await as(await createPod(controlPlane))), ['example.org']);
    assert.deepEqual(await namesFor({}), ['example.org']);
    assert.equal((await strict.call({ path: '/bundles/spire.example' })).status, 404);
    strict.agent.destroy();
    await strict.signer.child.stop();
  });

  it('one of two replicas fetches each bundle, and the other one continues when it is killed', async () => {
    const credentials = await webCredentials();
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const pools = await Promise.all(names.map((name) => foreignPool(`${name}.example`)));
    let requests = 0;
    const server = createServer(credentials, ({ url = '' }, response) => {
      requests += 1;
      const pool = pools[names.indexOf(url.slice(1))];
      response.end(pool && bundleOf(pool, 3600));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push({ url: '', close: async () => void server.close() });
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const other = await startSigner({ kubeconfig: installed.kubeconfig, replica: 'signer-b', flags });
    await other.ready();
    for (const name of names) {
      await federate(name, {
        trustDomain: `${name}.example`,
        bundleEndpoint: webEndpoint(`${url}/${name}`, credentials.cert),
      });
    }
    const attempts = (of: SignerProcess) =>
      of.metric('kubespiffe_federation_attempts_total', { reason: 'BundleTaken' });
    const [before, none] = await Promise.all([attempts(signer), attempts(other)]);
    for (const name of names) await statusOnce(name, is('True BundleTaken'));
    for (const name of names) await refresh(name, 'again');
    for (const name of names) await statusOnce(name, (_, { observedRefresh }) => observedRefresh === 'again');
    assert.equal(requests, 2 * names.length);
    assert.equal((await attempts(signer)) - before + (await attempts(other)) - none, 2 * names.length);
    await signer.child.stop('SIGKILL');
    for (const name of names) await refresh(name, 'alone');
    for (const name of names) await statusOnce(name, (_, { observedRefresh }) => observedRefresh === 'alone');
    assert.equal(requests, 3 * names.length);
    signer = other;
  });

  it('the signer publishes 1,000 trust domains, and issues certificates meanwhile', async () => {
    // A root without a name may be of any trust domain.
    const now = Math.floor(Date.now() / 1000);
    const { certificate } = await makeCa({ notBefore: now - 3_600, notAfter: now + 3_600, uris: [] });
    const bundle = JSON.stringify({ keys: [x509KeyOf({ certificate })], spiffe_sequence: 1 });
    const names = Array.from({ length: 1_000 }, (_, index) => `many-${index}`);
    const attempts = () => signer.metric('kubespiffe_federation_attempts_total', { reason: 'BundleTaken' });
    const before = await attempts();
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(
        names.slice(at, at + 50).map((name) => federate(name, { trustDomain: `${name}.example`, bundle })),
      );
    // How long it takes depends on what else runs here; the bench compares that.
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    assert.ok((await answerTo(controlPlane, request)).certificateChain);
    await waitFor('all of them', async () => (await attempts()) - before >= names.length, {
      timeoutMs: 120_000,
    });
    const selector = encodeURIComponent('app.kubernetes.io/managed-by=kubespiffe');
    const path = `/apis/certificates.k8s.io/v1/clustertrustbundles?labelSelector=${selector}`;
    await waitFor(
      'all bundles',
      async () => {
        const { items } = (await controlPlane.request('GET', path)).body as { items: ClusterTrustBundle[] };
        return items.filter(({ metadata }) => metadata.name.includes(':peer.many-')).length === names.length;
      },
      { timeoutMs: 120_000 },
    );
  });
});
