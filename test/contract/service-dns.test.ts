import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ClusterTrustBundle, Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { findExtension } from '../../spiffe/pki/extensions.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { run } from '../tools/run.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, type PodWishes, requestFor } from './workloads.ts';

const signerName = 'kubespiffe.io/service-dns';
const servicesAnnotation = 'kubespiffe.io/services';
const rbac = join(import.meta.dirname, '../../manifests/service-dns/rbac.yaml');
const secrets = '/api/v1/namespaces/kubespiffe/secrets';
const poolName = 'kubespiffe-service-dns-pool';

describe('the signer service-dns on a cluster', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;
  let kubeconfig: string;
  let root: string;
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-service-dns-'));

  const createPool = () =>
    run([
      ...[
        'ca',
        'create',
        '--kind',
        'service-dns',
        '--ca-id',
        'dns-1',
        '--kubeconfig',
        controlPlane.kubeconfig,
      ],
      ...['--permitted-dns', 'svc,svc.cluster.local'],
    ]);
  const createService = (name: string, spec: object, namespace = 'default') =>
    create(controlPlane, `/api/v1/namespaces/${namespace}/services`, {
      metadata: { name },
      spec: { ports: [{ port: 443 }], ...spec },
    });
  const podOf = (app: string, wishes: PodWishes = {}) =>
    createPod(controlPlane, { ...wishes, labels: { app, ...wishes.labels } });
  const ask = (pod: Pod, different: Partial<PodCertificateRequest['spec']> = {}) =>
    requestFor(controlPlane, pod, { signerName, ...different });
  async function issued(request: PodCertificateRequest): Promise<string> {
    const { certificateChain = '', conditions } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued', conditions?.[0]?.message);
    return certificateChain;
  }
  const dnsNamesIn = (chain: string) =>
    (new X509Certificate(chain).subjectAltName ?? '').split(', ').map((name) => name.replace(/^DNS:/, ''));
  /** The reason and message of the last wait that the signer logged for a request. */
  const waitOf = (request: PodCertificateRequest) =>
    waitFor(`${request.metadata.name} to wait`, async () => {
      const key = `${request.metadata.namespace}/${request.metadata.name}`;
      const lines = signer.lines().filter((line) => line.request === key && line.reason !== 'Issued');
      const last = lines.at(-1);
      return last && { reason: String(last.reason), message: String(last.msg) };
    });

  before(async () => {
    controlPlane = await startControlPlane();
    kubeconfig = await installSigner(controlPlane);
    await controlPlane.kubectl(['apply', '-f', rbac]);
    await putPool(controlPlane, await aPool());
    // What breaks every pod of the namespace with a signer that looks at Services without a selector.
    await createService('manual', { selector: null });
    await createService('elsewhere', { type: 'ExternalName', externalName: 'example.com', ports: [] });
    signer = await startSigner({
      kubeconfig,
      flags: ['--service-dns-enabled', 'true', '--service-dns-root-propagation-delay', '0s'],
    });
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await signer?.child.stop();
    await controlPlane?.stop();
  });

  it('service-dns is not ready without its pool, says how to create it, and does not affect the signer spiffe', async () => {
    const text = await waitFor('the pool of spiffe to be ready', async () => {
      const readiness = await signer.readiness().catch(() => undefined);
      return readiness && /^\[\+\]spiffe\/trust-bundle/m.test(readiness.text) && readiness.text;
    });
    assert.match(text, /^\[-\]service-dns\/pool .*there is no such Secret;.*`kubespiffe ca create`/m);
    const { certificateChain = '' } = await answerTo(
      controlPlane,
      await requestFor(controlPlane, await createPod(controlPlane)),
    );
    assert.match(new X509Certificate(certificateChain).subjectAltName ?? '', /^URI:spiffe:/);
  });

  it('service-dns waits for a pool of its own: a pool of a trust domain is refused', async () => {
    await create(controlPlane, secrets, {
      metadata: { name: poolName },
      type: 'kubespiffe.io/authority-pool',
      data: (await controlPlane.request('GET', `${secrets}/kubespiffe-pool`)).body.data,
    });
    await createService('first', { selector: { app: 'first' } });
    const wait = await waitOf(await ask(await podOf('first')));
    assert.equal(wait.reason, 'PoolUnusable');
    await waitFor('the problem of the pool to be shown', async () =>
      /service-dns\/pool .*PoolTrustDomainMismatch|service-dns\/pool .*"example\.org", and the signer is configured for no trust domain/.test(
        (await signer.readiness()).text,
      ),
    );
    assert.equal((await controlPlane.request('DELETE', `${secrets}/${poolName}`)).status, 200);
  });

  it('service-dns becomes ready with its pool, and publishes its root with a label of its own', async () => {
    const created = await createPool();
    assert.equal(created.code, 0, created.stderr);
    await signer.ready();
    const path =
      '/apis/certificates.k8s.io/v1/clustertrustbundles?labelSelector=kubespiffe.io/canarying=live';
    const [bundle, ...others] = (await controlPlane.request('GET', path)).body.items as ClusterTrustBundle[];
    assert.equal(others.length, 0);
    assert.equal(bundle?.metadata.name, 'kubespiffe.io:service-dns:roots');
    assert.equal(bundle?.spec.signerName, signerName);
    root = bundle?.spec.trustBundle ?? '';
  });

  it('service-dns issues a certificate that OpenSSL accepts for each DNS name of the Service, and for no other', async () => {
    await createService('web', { selector: { app: 'web' } });
    // Asked for 91 days.
    const chain = await issued(await ask(await podOf('web'), { maxExpirationSeconds: 7_862_400 }));
    const leaf = new X509Certificate(chain);
    assert.equal(leaf.subject, undefined);
    assert.deepEqual(dnsNamesIn(chain), ['web.default.svc', 'web.default.svc.cluster.local']);
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.equal(Date.parse(leaf.validTo) - Date.parse(leaf.validFrom), 86_400_000);
    const facts = readCertificate(leaf.raw);
    assert.ok(facts.ok);
    assert.equal(findExtension(facts.value.extensions, 'subjectAltName')?.critical, true);

    writeFileSync(join(folder, 'root.pem'), root);
    writeFileSync(join(folder, 'leaf.pem'), chain);
    const verify = (name: string) =>
      execFileSync(
        'openssl',
        [
          ...['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', name],
          ...['-CAfile', 'root.pem', 'leaf.pem'],
        ],
        { cwd: folder, encoding: 'utf8', stdio: 'pipe' },
      );
    for (const name of dnsNamesIn(chain)) assert.equal(verify(name), 'leaf.pem: OK\n');
    assert.throws(() => verify('web.other.svc'), /hostname mismatch/);
  });

  it('service-dns names a member of a headless Service by its own DNS name too', async () => {
    await createService('db', { selector: { app: 'db' }, clusterIP: 'None' });
    const pod = await podOf('db', { hostname: 'db-0', subdomain: 'db' });
    assert.deepEqual(dnsNamesIn(await issued(await ask(pod))), [
      'db.default.svc',
      'db.default.svc.cluster.local',
      'db-0.db.default.svc',
      'db-0.db.default.svc.cluster.local',
    ]);
  });

  it('service-dns answers a waiting request when a Service selects the pod, and reports before why it waits', async () => {
    const pod = await podOf('late');
    const request = await ask(pod);
    const wait = await waitOf(request);
    assert.equal(wait.reason, 'NoService');
    assert.match(wait.message, /the pod has the labels app=late/);
    const events = `/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=reason=NoService`;
    const event = await waitFor('the Event', async () => {
      const items = (await controlPlane.request('GET', events)).body.items as {
        regarding: { uid: string };
        note: string;
      }[];
      return items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
    });
    assert.match(event.note, /^No Service selects the pod/);
    await createService('late', { selector: { app: 'late' } });
    const chain = await issued(request);
    assert.deepEqual(dnsNamesIn(chain), ['late.default.svc', 'late.default.svc.cluster.local']);
  });

  it('service-dns answers when the labels of a waiting pod or the selector of a Service are corrected', async () => {
    await createService('fixed', { selector: { app: 'fixed' } });
    const pod = await podOf('fixde');
    const request = await ask(pod);
    assert.equal((await waitOf(request)).reason, 'NoService');
    const path = `/api/v1/namespaces/default/pods/${pod.metadata.name}`;
    const patched = await controlPlane.request('PATCH', path, { metadata: { labels: { app: 'fixed' } } });
    assert.equal(patched.status, 200);
    assert.equal(dnsNamesIn(await issued(request))[0], 'fixed.default.svc');

    const other = await ask(await podOf('moved'));
    assert.equal((await waitOf(other)).reason, 'NoService');
    const service = '/api/v1/namespaces/default/services/fixed';
    const moved = await controlPlane.request('PATCH', service, { spec: { selector: { app: 'moved' } } });
    assert.equal(moved.status, 200);
    assert.equal(dnsNamesIn(await issued(other))[0], 'fixed.default.svc');
  });

  it('service-dns gives no name for an EndpointSlice that a tenant writes, in any namespace', async () => {
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'tenant' } });
    const pod = await podOf('lonely');
    await createService('victim', { selector: { app: 'victim' } });
    for (const namespace of ['default', 'tenant']) {
      await create(controlPlane, `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
        metadata: { name: 'forged', labels: { 'kubernetes.io/service-name': 'victim' } },
        addressType: 'IPv4',
        endpoints: [
          {
            addresses: ['10.1.2.3'],
            targetRef: { kind: 'Pod', namespace: 'default', name: pod.metadata.name, uid: pod.metadata.uid },
          },
        ],
        ports: [],
      });
    }
    assert.equal((await waitOf(await ask(pod))).reason, 'NoService');
  });

  it('a pod chooses among its own Services, and among no others', async () => {
    for (const name of ['a', 'b', 'c'])
      await createService(`chosen-${name}`, { selector: { app: 'chosen' } });
    const choose = async (value: string) =>
      ask(await podOf('chosen'), { unverifiedUserAnnotations: { [servicesAnnotation]: value } });
    assert.deepEqual(
      dnsNamesIn(await issued(await choose('chosen-a,chosen-c'))).filter((name) => name.endsWith('.svc')),
      ['chosen-a.default.svc', 'chosen-c.default.svc'],
    );

    const missing = await choose('chosen-d');
    const wait = await waitOf(missing);
    assert.equal(wait.reason, 'ServiceNotMatching');
    assert.match(wait.message, /default\/chosen-d: there is no such Service/);
    await createService('chosen-d', { selector: { app: 'chosen' } });
    assert.equal(dnsNamesIn(await issued(missing))[0], 'chosen-d.default.svc');

    const [condition] = (await answerTo(controlPlane, await choose('kube-system/kube-dns'))).conditions ?? [];
    assert.equal(condition?.type, 'Denied');
    assert.equal(condition?.reason, 'InvalidUnverifiedUserAnnotations');
    assert.match(condition?.message ?? '', /"kube-system\/kube-dns", which is not the name of a Service/);
  });

  it('service-dns reports on a running pod that its certificate lacks the name of a later Service', async () => {
    const podWith = async (name: string, phase: string, userAnnotations = {}) => {
      const path = '/api/v1/namespaces/default/pods';
      const podCertificate = {
        signerName,
        keyType: 'ECDSAP256',
        credentialBundlePath: 'c.pem',
        userAnnotations,
      };
      const pod = await create<Pod>(controlPlane, path, {
        metadata: { name, labels: { app: 'lacking' } },
        spec: {
          nodeName: 'node-1',
          containers: [{ name: 'app', image: 'none' }],
          volumes: [{ name: 'c', projected: { sources: [{ podCertificate }] } }],
        },
      });
      const patched = await controlPlane.request('PATCH', `${path}/${name}/status`, { status: { phase } });
      assert.equal(patched.status, 200);
      return pod;
    };
    await createService('lacking', { selector: { app: 'lacking' } });
    const running = await podWith('lacking-0', 'Running');
    await podWith('lacking-1', 'Pending');
    await podWith('lacking-2', 'Running', { [servicesAnnotation]: 'lacking' });
    assert.equal(dnsNamesIn(await issued(await ask(running)))[0], 'lacking.default.svc');
    await createService('since', { selector: { app: 'lacking' } });
    const path =
      '/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=reason=CertificateLacksNames';
    const found = await waitFor('the Event', async () => {
      const items = (await controlPlane.request('GET', path)).body.items as {
        regarding: { name: string };
        note: string;
      }[];
      return items.length > 0 && items;
    });
    assert.deepEqual(
      found.map(({ regarding }) => regarding.name),
      ['lacking-0'],
    );
    assert.match(found[0]?.note ?? '', /lacks since\.default\.svc, since\.default\.svc\.cluster\.local:/);
    // And the next certificate has it.
    assert.ok(dnsNamesIn(await issued(await ask(running))).includes('since.default.svc'));
  });

  it('a pod with 51 Services, 102 names, waits until it chooses some', async () => {
    await Promise.all(
      Array.from({ length: 51 }, (_, at) => createService(`many-${at}`, { selector: { app: 'many' } })),
    );
    const wait = await waitOf(await ask(await podOf('many')));
    assert.equal(wait.reason, 'TooManyNames');
    assert.match(wait.message, /51 Services give 102 names/);
    const unverifiedUserAnnotations = { [servicesAnnotation]: 'many-7' };
    const chain = await issued(await ask(await podOf('many'), { unverifiedUserAnnotations }));
    assert.equal(dnsNamesIn(chain)[0], 'many-7.default.svc');
  });

  it('service-dns issues names of 63 characters in a namespace of 63', async () => {
    const namespace = 'n'.repeat(63);
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace } });
    await create(controlPlane, `/api/v1/namespaces/${namespace}/serviceaccounts`, {
      metadata: { name: 'default' },
    }).catch(() => undefined);
    const name = 's'.repeat(63);
    await createService(name, { selector: { app: 'long' }, clusterIP: 'None' }, namespace);
    const hostname = 'h'.repeat(63);
    const pod = await podOf('long', { namespace, hostname, subdomain: name });
    const names = dnsNamesIn(await issued(await ask(pod)));
    assert.equal(names.at(-1), `${hostname}.${name}.${namespace}.svc.cluster.local`);
  });
});
