import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import type { AuthorityRecord } from '../../signer/authority/document.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { bundleLabels } from '../../signer/trust/labels.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { run } from '../tools/run.ts';
import { putPool, startInstalledSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { installTokenEndpoint, startTokenSigner, type TokenSigner, tokenFor } from './token-endpoint.ts';
import { answerTo, create, createPod, read, requestFor } from './workloads.ts';

const rbac = path.join(import.meta.dirname, '../../manifests/roots-configmap/rbac.yaml');
const configMap = 'kubespiffe-roots';
const flags = ['--roots-config-map', configMap];

/** A cluster whose API server serves neither PodCertificateRequests nor ClusterTrustBundles. */
describe('a cluster without ClusterTrustBundles', () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;

  before(async () => {
    controlPlane = await startControlPlane({
      apiServerFlags: [
        '--feature-gates=PodCertificateRequest=false,ClusterTrustBundle=false,ClusterTrustBundleProjection=false',
      ],
    });
    installed = await installTokenEndpoint(controlPlane);
    await controlPlane.kubectl(['apply', '-f', rbac]);
    await newNamespace('shop');
    endpoint = await startTokenSigner(installed, { flags });
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  const newNamespace = (name: string) =>
    create(controlPlane, '/api/v1/namespaces', {
      metadata: { name, labels: { 'kubespiffe.io/roots': 'true' } },
    });
  const pathIn = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${configMap}`;

  /** Whether the signer may write the ConfigMap, by the API server's own word. */
  async function mayWrite(): Promise<boolean> {
    const answer = await controlPlane.request('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: 'system:serviceaccount:kubespiffe:kubespiffe-signer',
        resourceAttributes: { verb: 'patch', resource: 'configmaps', namespace: 'shop', name: configMap },
      },
    });
    return answer.body.status.allowed;
  }

  async function notReady(signer: SignerProcess, expected: RegExp): Promise<void> {
    await waitFor(`readiness to say ${expected}`, async () => {
      const { ok, text } = await signer.readiness();
      if (ok || !expected.test(text)) throw new Error(text);
      return true;
    });
  }

  it('a cluster without ClusterTrustBundles is served by the token endpoint, and the signer is ready and reports what it serves', async () => {
    await endpoint.signer.ready();
    const { text } = await endpoint.signer.readiness();
    assert.match(
      text,
      /\[\+\]pod-certificate-api .*serves no PodCertificateRequests; the token endpoint alone gives SVIDs/,
    );
    assert.match(text, /\[\+\]caches /);
    assert.match(
      text,
      /\[\+\]spiffe\/trust-bundle .*ConfigMap kubespiffe-roots shows the root .* in each namespace/,
    );
  });

  it('a pod gets a JWT-SVID from an endpoint that is verified by the roots of the ConfigMap', async () => {
    const held = await controlPlane.request('GET', pathIn('shop'));
    assert.equal(held.body.data['roots.pem'], (await endpoint.call({ path: '/roots.pem' })).text);
    const pod = await createPod(controlPlane);
    assert.equal((await endpoint.exchange(await tokenFor(controlPlane, pod))).status, 200);
  });

  it('a signer with only Pod Certificates, or only ConfigMaps, does not serve a cluster without ClusterTrustBundles', async () => {
    for (const [replica, only] of [
      ['plain', []],
      ['maps', flags],
    ] as const) {
      const signer = await startSigner({ kubeconfig: installed.kubeconfig, replica, flags: only });
      await notReady(signer, /\[-\]pod-certificate-api .*Kubernetes 1\.37 does/);
      await signer.child.stop('SIGTERM');
    }
  });

  it('a signer logs once that a bundle cannot be published', () => {
    const told = endpoint.signer
      .lines()
      .filter(({ msg }) => /serves no ClusterTrustBundles/.test(String(msg)));
    assert.deepEqual(
      told.map(({ bundle }) => bundle).sort(),
      ['pod-identity', 'spiffe'].flatMap((signer) =>
        ['roots', 'roots-preview'].map((suffix) => `kubespiffe.io:${signer}:${suffix}`),
      ),
    );
  });

  describe('a new root that signs at once', () => {
    let rooted: AuthorityRecord;
    before(async () => {
      rooted = await createAuthority({
        id: 'new',
        trustDomain: 'example.org',
        now: Math.floor(Date.now() / 1000),
      });
    });

    /** The pool with the new root as the only one that is published, as after a disaster. */
    const replaced = () => ({
      ...installed.pool,
      sequence: installed.pool.sequence + 1,
      authorities: [
        rooted,
        ...installed.pool.authorities.map((each) =>
          each.certificate === undefined ? each : { ...each, state: 'retired' as const },
        ),
      ],
    });

    it('a new root signs when the ConfigMaps of all namespaces have it, and not before', async () => {
      // Nobody may write in the one that has to show it: as if the API server were slow to take it.
      await controlPlane.kubectl(['delete', '-f', rbac]);
      await waitFor('the signer to be forbidden', async () => !(await mayWrite()));
      await putPool(controlPlane, replaced());
      await notReady(
        endpoint.signer,
        /\[-\]spiffe\/trust-bundle .*1 of 1 namespaces do not have the roots; shop: /,
      );
      await controlPlane.kubectl(['apply', '-f', rbac]);
      await endpoint.signer.ready();
      const held = await controlPlane.request('GET', pathIn('shop'));
      assert.equal(held.body.data['roots.pem'], rooted.certificate);
      await waitFor('a certificate of the new root', () =>
        endpoint.signer
          .lines()
          .some((line) => line.authority === 'new' && /new certificate/.test(String(line.msg))),
      );
    });

    it('a new root does not wait for a namespace that refuses the ConfigMap, also at the start', async () => {
      const ready = async () =>
        assert.ok((await endpoint.signer.readiness()).ok, (await endpoint.signer.readiness()).text);
      await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'full' } });
      await create(controlPlane, '/api/v1/namespaces/full/resourcequotas', {
        metadata: { name: 'none' },
        spec: { hard: { 'count/configmaps': '0' } },
      });
      await controlPlane.kubectl(['label', 'namespace', 'full', 'kubespiffe.io/roots=true']);
      await waitFor(
        'the refusal',
        async () => (await endpoint.signer.metric('kubespiffe_roots_configmaps', { state: 'failed' })) === 1,
      );
      await ready();
      const later = await startTokenSigner(
        { ...installed, pool: replaced() },
        { flags, replica: 'signer-b' },
      );
      await later.signer.ready();
      later.agent.destroy();
      await later.signer.child.stop('SIGTERM');
    });

    it('a new root is not delayed by tenants who overtake or undo each write to their namespace', async () => {
      const now = Math.floor(Date.now() / 1000);
      const next = await createAuthority({ id: 'next', trustDomain: 'example.org', now });
      const held = () => controlPlane.request('GET', pathIn('shop'));
      const formerPem = (await held()).body.data['roots.pem'];
      for (const name of ['overtakes', 'undoes']) {
        await newNamespace(name);
        await waitFor(
          `the roots in ${name}`,
          async () => (await controlPlane.request('GET', pathIn(name))).status === 200,
        );
      }
      let isFighting = true;
      const fight = async (namespace: string, patch: () => object) => {
        while (isFighting) await controlPlane.request('PATCH', pathIn(namespace), patch());
      };
      const annotate = () => ({
        metadata: { annotations: { 'example.org/now': String(performance.now()) } },
      });
      const tenants = [
        ...Array.from({ length: 4 }, () => fight('overtakes', annotate)),
        fight('undoes', () => ({ data: { 'roots.pem': formerPem } })),
      ];
      try {
        const { sequence, authorities } = replaced();
        await putPool(controlPlane, {
          ...replaced(),
          sequence: sequence + 1,
          authorities: [
            next,
            ...authorities.map((each) => (each === rooted ? { ...each, state: 'retired' as const } : each)),
          ],
        });
        await waitFor('a certificate of the next root', () =>
          endpoint.signer
            .lines()
            .some((line) => line.authority === 'next' && /new certificate/.test(String(line.msg))),
        );
        const calls = { verb: 'PATCH', resource: 'configmaps', code: '409' };
        assert.ok((await endpoint.signer.metric('kubespiffe_api_requests_total', calls)) > 0);
        assert.equal((await held()).body.data['roots.pem'], next.certificate);
      } finally {
        isFighting = false;
        await Promise.all(tenants);
      }
    });
  });

  it('a root that a tenant puts into a ConfigMap with our labels gets into no pool', async () => {
    const forged = await createAuthority({
      id: 'forged',
      trustDomain: 'example.org',
      now: Date.now() / 1000,
    });
    const labels = bundleLabels('example.org');
    await create(controlPlane, '/api/v1/namespaces/default/configmaps', {
      metadata: { name: configMap, labels },
      data: { 'roots.pem': forged.certificate },
    });
    const path = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
    const before = (await controlPlane.request('GET', path)).body;
    const env = { KUBECONFIG: controlPlane.kubeconfig };
    const restored = await run(['ca', 'restore', '--from', '-'], { input: JSON.stringify(before), env });
    assert.equal(restored.code, 0, restored.stderr);
    assert.match(restored.stderr, /it was not checked which roots are published/);
    assert.ok(!poolJsonIn((await controlPlane.request('GET', path)).body)?.includes('published-'));
    assert.equal((await controlPlane.request('DELETE', path)).status, 200);
    const made = ['ca', 'create', '--ca-id', 'anew', '--trust-domain', 'example.org', '--start-anew'];
    const created = await run(made, { env });
    assert.equal(created.code, 0, created.stderr);
    assert.ok(!poolJsonIn((await controlPlane.request('GET', path)).body)?.includes('published-'));
  });
});

describe('a cluster whose API server is started again without ClusterTrustBundles', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;
  before(async () => {
    controlPlane = await startControlPlane();
    signer = await startInstalledSigner(controlPlane);
  });
  after(() => controlPlane?.stop());

  it('a signer does not sign by an old view of the bundle, and signs again when ClusterTrustBundles are served', async () => {
    await answerTo(controlPlane, await requestFor(controlPlane, await createPod(controlPlane)));
    const pod = await createPod(controlPlane);
    await controlPlane.killApiServer();
    const apiServerFlags = [
      '--runtime-config=certificates.k8s.io/v1/clustertrustbundles=false',
      '--feature-gates=ClusterTrustBundle=false,ClusterTrustBundleProjection=false',
    ];
    await controlPlane.startApiServer({ apiServerFlags });
    await waitFor('readiness to say it', async () => {
      const { ok, text } = await signer.readiness();
      return (
        !ok &&
        /^\[-\]spiffe\/trust-bundle the API server serves no ClusterTrustBundles; enable them/m.test(text)
      );
    });
    const request = await requestFor(controlPlane, pod);
    await waitFor('the decision', () =>
      signer.lines().some((line) => line.request === `default/${request.metadata.name}`),
    );
    assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
    await controlPlane.killApiServer();
    await controlPlane.startApiServer({ apiServerFlags: [] });
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    await signer.ready();
  });
});
