import 'reflect-metadata';
import assert from 'node:assert/strict';
import { webcrypto, X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { BasicConstraintsExtension, X509CertificateGenerator } from '@peculiar/x509';
import { newPool } from '../../signer/authority/create.ts';
import { poolSecret, serializePool } from '../../signer/authority/pool-secret.ts';
import { signedUntilName } from '../../signer/authority/signed-until.ts';
import { loadConfig } from '../../signer/config/load.ts';
import type { InformerSpec } from '../../signer/kube/informer.ts';
import type { ClusterTrustBundle, ObjectMeta } from '../../signer/kube/types.ts';
import { run } from '../../signer/main.ts';
import { createLogger } from '../../signer/observe/log.ts';
import { createOutput } from '../../signer/observe/output.ts';
import type { SignerProfile } from '../../signer/signers/profile.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const services: InformerSpec<{ metadata: ObjectMeta }, string> = {
  resource: { group: '', versions: ['v1'], name: 'services' },
  fields: { metadata: { name: true, namespace: true, uid: true, resourceVersion: true } },
  project: ({ metadata: { name, namespace } }) => `${name}.${namespace}.svc.cluster.local`,
};

/** A signer in one declaration: server certificates with the DNS name of the Service that is named like the pod. */
const toy: SignerProfile = {
  signerName: 'kubespiffe.io/toy',
  name: 'toy',
  hasTrustDomain: false,
  hasTokenEndpoint: false,
  settings: {
    enabled: true,
    pool: { namespace: 'kubespiffe', name: 'toy-pool' },
    bundleSuffix: 'roots',
    rootsConfigMap: undefined,
    maxLifetimeSeconds: 86_400,
    rootPropagationSeconds: 390,
    refreshFraction: 0.5,
    leafPodIdentity: false,
    leafIssuer: undefined,
    rotation: undefined,
  },
  identifier(_settings, { follow }) {
    const followed = follow(services, (_name, key) => [key]);
    return ({ namespace, podName }) => {
      const name = followed.store.get(`${namespace}/${podName}`);
      if (name === undefined) {
        return { ok: false, reason: 'IdentityInvalid', detail: `there is no Service ${podName}` };
      }
      return { ok: true, subject: { uris: [], dnsNames: [name], display: name } };
    };
  },
  certificate: () => ({
    keyUsage: { EC: ['digitalSignature'], RSA: ['digitalSignature'], Ed25519: ['digitalSignature'] },
    extKeyUsage: ['serverAuth'],
  }),
};

/** What the manifests of such a signer would grant: everything by name. */
const rbac = [
  {
    kind: 'ClusterRole',
    metadata: { name: 'toy' },
    rules: [
      { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
      {
        apiGroups: ['certificates.k8s.io'],
        resources: ['signers'],
        resourceNames: [toy.signerName],
        verbs: ['sign', 'attest'],
      },
      {
        apiGroups: ['certificates.k8s.io'],
        resources: ['clustertrustbundles'],
        resourceNames: ['kubespiffe.io:toy:roots', 'kubespiffe.io:toy:roots-preview'],
        verbs: ['create', 'patch'],
      },
    ],
  },
  {
    kind: 'Role',
    metadata: { name: 'toy', namespace: 'kubespiffe' },
    rules: [
      {
        apiGroups: [''],
        resources: ['secrets'],
        resourceNames: ['toy-pool'],
        verbs: ['get', 'list', 'watch'],
      },
      {
        apiGroups: [''],
        resources: ['configmaps'],
        resourceNames: [signedUntilName('toy-pool')],
        verbs: ['get', 'create', 'patch'],
      },
    ],
  },
  ...(['ClusterRole', 'Role'] as const).map((kind) => ({
    kind: `${kind}Binding`,
    metadata: { name: 'toy', ...(kind === 'Role' && { namespace: 'kubespiffe' }) },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: 'toy' },
    subjects: [{ kind: 'ServiceAccount', namespace: 'kubespiffe', name: 'kubespiffe-signer' }],
  })),
].map((each) => ({ apiVersion: 'rbac.authorization.k8s.io/v1', ...each }));

/** A pool of no trust domain: its CA says nothing about SPIFFE. */
async function putToyPool(controlPlane: ControlPlane): Promise<string> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: 'CN=toy CA',
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 30 * 86_400_000),
      signingAlgorithm: algorithm,
      keys,
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    },
    webcrypto,
  );
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const certificate = `${root.toString('pem')}\n`;
  const pool = newPool(undefined, {
    id: 'toy-1',
    kind: 'X509',
    state: 'active',
    tainted: false,
    privateKey: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
    certificate,
  });
  await create(controlPlane, '/api/v1/namespaces/kubespiffe/secrets', {
    metadata: { name: 'toy-pool', namespace: 'kubespiffe' },
    type: poolSecret.type,
    data: serializePool(pool),
  });
  return certificate;
}

describe('a second signer that is declared in one file', () => {
  let controlPlane: ControlPlane;
  let running: Promise<void>;
  let url: string;
  let toyRoot: string;
  const stopping = new AbortController();
  const lines: string[] = [];
  const get = async (path: string) => {
    const answer = await fetch(`${url}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const bundle = async (name: string) =>
    (await controlPlane.request('GET', `/apis/certificates.k8s.io/v1/clustertrustbundles/${name}`))
      .body as ClusterTrustBundle;

  const createService = (name: string) =>
    create(controlPlane, '/api/v1/namespaces/default/services', {
      metadata: { name },
      spec: { ports: [{ port: 443 }] },
    });

  before(async () => {
    controlPlane = await startControlPlane();
    const kubeconfig = await installSigner(controlPlane);
    await controlPlane.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: rbac }),
    });
    await putPool(controlPlane, await aPool());
    toyRoot = await putToyPool(controlPlane);
    await createService('web');
    const [port] = await freePorts(1);
    url = `http://127.0.0.1:${port}`;
    const loaded = await loadConfig({
      argv: [
        ...['--kubeconfig', kubeconfig, '--trust-domain', 'example.org', '--replica', 'signer-a'],
        ...['--metrics-address', `127.0.0.1:${port}`],
      ],
      env: {},
      readFile: async () => '',
    });
    assert.ok(loaded.kind === 'config');
    const output = createOutput((bytes) => {
      lines.push(bytes.toString());
      return bytes.length;
    });
    const log = createLogger({ level: 'info', destination: output.log });
    running = run(loaded.config, { log, output }, stopping.signal, [spiffe, toy]);
    await waitFor('both signers to be ready', async () => {
      const { status, text } = await get('/readyz?verbose').catch(() => ({ status: 0, text: 'no answer' }));
      if (status === 200) return true;
      throw new Error(text);
    });
  });
  after(async () => {
    stopping.abort('the test is over');
    await running;
    await controlPlane?.stop();
  });

  it('a toy signer issues a certificate with its own names, under its own CA', async () => {
    const pod = await createPod(controlPlane, { name: 'web' });
    const request = await requestFor(controlPlane, pod, { signerName: toy.signerName });
    const { certificateChain = '' } = await answerTo(controlPlane, request);
    const leaf = new X509Certificate(certificateChain);
    assert.equal(leaf.subjectAltName, 'DNS:web.default.svc.cluster.local');
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.ok(leaf.verify(new X509Certificate(toyRoot).publicKey));
  });

  it('a toy signer answers a request that waits for a Service as soon as there is one', async () => {
    const pod = await createPod(controlPlane, { name: 'late' });
    const request = await requestFor(controlPlane, pod, { signerName: toy.signerName });
    await waitFor('the request to wait', async () => /there is no Service late/.test(lines.join('')));
    await createService('late');
    const { certificateChain = '' } = await answerTo(controlPlane, request);
    assert.equal(new X509Certificate(certificateChain).subjectAltName, 'DNS:late.default.svc.cluster.local');
  });

  it('a toy signer does not affect the other signer', async () => {
    const pod = await createPod(controlPlane);
    const { certificateChain = '' } = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    const leaf = new X509Certificate(certificateChain);
    assert.equal(leaf.subjectAltName, 'URI:spiffe://example.org/ns/default/sa/default');
    assert.equal(leaf.verify(new X509Certificate(toyRoot).publicKey), false);
  });

  it('a toy signer publishes its own root under its own name, and no trust domain', async () => {
    const [own, other] = await Promise.all(
      ['kubespiffe.io:toy:roots', 'kubespiffe.io:spiffe:roots'].map(bundle),
    );
    const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;
    assert.equal(own?.spec.signerName, toy.signerName);
    assert.equal(fingerprint(own?.spec.trustBundle ?? ''), fingerprint(toyRoot));
    assert.notEqual(fingerprint(other?.spec.trustBundle ?? ''), fingerprint(toyRoot));
    assert.equal(own?.metadata.labels?.['k8s.spiffe.io/peer-trust-domain'], undefined);
    assert.equal(other?.metadata.labels?.['k8s.spiffe.io/peer-trust-domain'], 'example.org');
  });

  it('a toy signer has its own lines in readiness, metrics and audit', async () => {
    const { text } = await get('/readyz?verbose');
    for (const check of ['toy/pool', 'toy/trust-bundle', 'spiffe/pool', 'spiffe/trust-bundle']) {
      assert.ok(text.includes(`[+]${check} `), text);
    }
    const metrics = (await get('/metrics')).text;
    for (const signer of [toy.signerName, spiffe.signerName]) {
      assert.match(metrics, new RegExp(`^kubespiffe_can_sign\\{kind="x509",signer="${signer}"\\} 1$`, 'm'));
      assert.match(
        metrics,
        new RegExp(`^kubespiffe_issuance_total\\{.*reason="Issued",signer="${signer}"\\} [1-9]`, 'm'),
      );
    }
    const audited = lines
      .join('')
      .split('\n')
      .filter((line) => line.includes('"audit":true'))
      .map((line) => JSON.parse(line) as { signer: string; dnsNames?: string[] });
    const own = audited.find(({ signer }) => signer === toy.signerName);
    assert.deepEqual(own?.dnsNames, ['web.default.svc.cluster.local']);
  });
});
