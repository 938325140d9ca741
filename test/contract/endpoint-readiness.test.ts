import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import type { Lease } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { webCredentials } from './bundle-endpoint.ts';
import { deletePool, installRegistrations, putPool } from './installation.ts';
import {
  assertRefused,
  callOver,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { create, createPod, createSignerPod } from './workloads.ts';

const federationRbac = path.join(import.meta.dirname, '../../manifests/federation/rbac.yaml');

/** What the readiness probe asks once something listens to others: manifests/token-endpoint says why. */
const probe = '/readyz?exclude=pool&exclude=permissions&exclude=admission-policy';

/**
 * Services send callers to ready replicas alone. Whether a CA may sign is no reason to withhold tokens, keys
 * and bundles; that the replica itself is not there yet is one.
 */
describe('readiness for the callers of an endpoint', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let folder: string;
  let endpoint: TokenSigner;
  let installed: { kubeconfig: string; pool: PoolDocument };
  let pool: PoolDocument;
  let overWeb: (target: string) => ReturnType<TokenSigner['call']>;
  let listsOfPods: ReturnType<FaultProxy['add']>;
  const documents = ['/keys', '/bundle', '/roots.pem'];

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    installed = await installTokenEndpoint(controlPlane, {
      server: proxy.url,
      authority: proxy.authority,
    });
    pool = installed.pool;
    await deletePool(controlPlane);
    listsOfPods = proxy.add({ method: 'GET', path: /^\/api\/v1\/pods\?/, fault: { kind: 'hang' } });

    folder = await makeStateFolder();
    const web = await webCredentials();
    const files = { certificate: path.join(folder, 'tls.crt'), key: path.join(folder, 'tls.key') };
    await writeFile(files.certificate, web.cert);
    await writeFile(files.key, web.key);
    const [port = 0] = await freePorts(1);
    const agent = new Agent({ ca: web.cert });
    overWeb = (target) => callOver(agent, port, { path: target });
    endpoint = await startTokenSigner(installed, {
      flags: [
        ...['--bundle-web-address', `127.0.0.1:${port}`, '--token-pod-rate', '1000'],
        ...['--bundle-web-certificate', files.certificate, '--bundle-web-key', files.key],
      ],
    });
  });
  after(async () => {
    endpoint?.agent.destroy();
    await endpoint?.signer.child.stop();
    await removeStateFolder(folder);
    await proxy?.stop();
    await controlPlane?.stop();
  });

  const asked = async (target: string) => {
    const answer = await fetch(`${endpoint.signer.url}${target}`);
    return { status: answer.status, text: await answer.text() };
  };
  const aToken = async () => tokenFor(controlPlane, await createPod(controlPlane));

  it('without a pool every document is refused with 503, and the replica is not ready', async () => {
    const text = await waitFor('the endpoints to say how they are', async () => {
      const report = await asked(probe);
      return (
        /bundle-web listens/.test(report.text) &&
        /token-endpoint there is no cert/.test(report.text) &&
        report.text
      );
    });
    assert.match(text, /^\[\+\]bundle-web listens/m);
    assert.match(text, /^\[-\]spiffe\/trust-bundle /m);
    for (const target of documents) {
      const answer = await overWeb(target);
      assert.deepEqual([answer.status, answer.json.reason], [503, 'NotReady'], target);
      assert.ok(Number(answer.headers['retry-after']) > 0);
    }
  });

  it('a replica that does not know the pods yet is not ready, and looks up the pod of each caller', async () => {
    await putPool(controlPlane, pool);
    await waitFor('the endpoint', async () =>
      (await asked(probe)).text.includes('[+]token-endpoint listens'),
    );
    const report = await asked(probe);
    assert.equal(report.status, 503);
    assert.match(report.text, /^\[-\]caches filling: pods$/m);
    const looks = proxy.add({ method: 'GET', path: /\/pods\//, fault: { kind: 'answer', status: 500 } });
    const blind = await endpoint.exchange(await aToken());
    assert.deepEqual([blind.status, blind.json.reason], [503, 'PodUnavailable'], blind.text);
    looks.remove();
    assert.equal((await endpoint.exchange(await aToken())).status, 200);
    listsOfPods.remove();
    proxy.resetConnections();
    await endpoint.signer.ready();
    assert.equal((await asked(probe)).status, 200);
  });

  let sequence = 1;
  /** What was in the bundles since, and is to leave them. */
  const retired: AuthorityRecord[] = [];
  /** The pool as it was at first, as a later one: its sequence never goes back. */
  const sound = (): PoolDocument => {
    sequence += 1;
    return { ...pool, sequence, authorities: [...pool.authorities, ...retired] };
  };
  const withCa = (changed: (ca: AuthorityRecord) => readonly object[]): PoolDocument => ({
    ...sound(),
    authorities: pool.authorities.flatMap((each) =>
      each.kind === 'X509' ? (changed(each) as AuthorityRecord[]) : each,
    ),
  });
  /** Beside the pool, whether tokens are signed: nobody can say what a Secret wants that cannot be read. */
  const unfit: Record<string, { made: () => Promise<PoolDocument | string>; token: number }> = {
    'is tainted': { made: async () => withCa((ca) => [{ ...ca, tainted: true }]), token: 200 },
    'retires, with no other to sign': {
      made: async () => withCa((ca) => [{ ...ca, state: 'retiring' }]),
      token: 200,
    },
    'has half an hour left': {
      made: async () => {
        const now = Math.floor(Date.now() / 1000) - 23.5 * 3600;
        const trustDomain = 'example.org';
        const old = await createAuthority({ id: '2', trustDomain, now, lifetimeSeconds: 24 * 3600 });
        // As old as the rest of the pool: a JWT key that is younger than another authority would not sign yet.
        const [{ createdAt, publishedAt } = {}] = pool.authorities;
        const ending = { ...old, createdAt, publishedAt } as AuthorityRecord;
        const unfit = withCa((ca) => [{ ...ca, state: 'retiring' }, ending]);
        retired.push({ ...ending, state: 'retired' });
        return unfit;
      },
      token: 200,
    },
    'cannot be read any more': { made: async () => '{', token: 503 },
  };
  for (const [name, { made, token }] of Object.entries(unfit)) {
    it(`a replica whose CA ${name} signs no certificates, and callers of its endpoints still reach it`, async () => {
      const held = await aToken();
      await putPool(controlPlane, await made());
      await waitFor('the signer to see it', async () => !(await endpoint.signer.readiness()).ok);
      assert.match((await asked('/readyz?verbose')).text, /^\[-\]spiffe\/pool /m);
      await waitFor('readiness for callers', async () => (await asked(probe)).status === 200);
      const answer = await endpoint.exchange(held);
      assert.equal(answer.status, token, answer.text);
      if (token !== 200) assert.equal(answer.json.reason, 'SigningUnavailable');
      for (const target of documents) {
        assert.equal((await endpoint.call({ path: target })).status, 200, target);
        assert.equal((await overWeb(target)).status, 200, target);
      }
      assert.equal(await endpoint.signer.metric('kubespiffe_ready'), 0);
      await putPool(controlPlane, sound());
      await endpoint.signer.ready();
    });
  }

  it('a replica that cannot sign stays ready for callers, and reports that on its pod, in a metric and at /readyz', async () => {
    const self = await createSignerPod(controlPlane);
    const canSign = async (kind: string) =>
      endpoint.signer.metric('kubespiffe_can_sign', { kind, signer: 'kubespiffe.io/spiffe' });
    await waitFor(
      'everything to be signed',
      async () => (await canSign('x509')) + (await canSign('jwt')) === 2,
    );
    await putPool(
      controlPlane,
      withCa((ca) => [{ ...ca, tainted: true }]),
    );
    const event = await waitFor('the Event on the pod of the signer', async () => {
      const path = '/apis/events.k8s.io/v1/namespaces/kubespiffe/events';
      const { items } = (await controlPlane.request('GET', path)).body as {
        items: { type: string; reason: string; note: string; regarding: { uid: string } }[];
      };
      // Each signer of the pool has its own.
      return items.find(
        ({ regarding, note }) => regarding.uid === self.metadata.uid && note.includes('kubespiffe.io/spiffe'),
      );
    });
    assert.deepEqual([event.type, event.reason], ['Warning', 'PoolUnusable']);
    await waitFor('the Lease to belong to that pod', async () => {
      const path = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
      const { items } = (await controlPlane.request('GET', path)).body as { items: Lease[] };
      return items.some(({ metadata }) => metadata.ownerReferences?.[0]?.uid === self.metadata.uid);
    });
    assert.match(
      event.note,
      /^No certificates are signed for kubespiffe.io.spiffe: .*tainted.*make another CA active/,
    );
    assert.deepEqual([await canSign('x509'), await canSign('jwt')], [0, 1]);
    assert.equal((await asked(probe)).status, 200);
    assert.match((await asked('/readyz?verbose')).text, /^\[-\]spiffe\/pool .*tainted/m);
    await putPool(controlPlane, sound());
    await endpoint.signer.ready();
    await waitFor('certificates to be signed', async () => (await canSign('x509')) === 1);
  });

  it('a replica that may not list the registrations gives no caller a name, also where its port is called directly', async () => {
    await installRegistrations(controlPlane);
    const registrations = '/apis/kubespiffe.io/v1alpha1/namespaces/default/workloadregistrations';
    await waitFor(
      'registrations to be served',
      async () => (await controlPlane.request('GET', registrations)).status === 200,
    );
    await create(controlPlane, registrations, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'WorkloadRegistration',
      metadata: { name: 'web' },
      spec: {
        podSelector: { matchLabels: { app: 'web' } },
        spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/registered',
      },
    });
    await endpoint.signer.ready();
    const pod = await createPod(controlPlane, { labels: { app: 'web' } });
    const lists = proxy.add({
      ...{ method: 'GET', path: /\/v1alpha1\/workloadregistrations\?/ },
      fault: { kind: 'answer', status: 403 },
    });
    const starting = await startTokenSigner(installed, {
      ...{ replica: 'signer-b', flags: ['--x509-svid', 'true'] },
    });
    try {
      await waitFor(
        'the port to be open',
        async () => (await starting.signer.readiness()).text.includes('[+]token-endpoint listens'),
        { needs: [starting.signer.child] },
      );
      await waitFor('the rest to be read', async () =>
        /^\[-\]caches filling: workloadregistrations$/m.test((await starting.signer.readiness()).text),
      );
      const bearer = { authorization: `Bearer ${await tokenFor(controlPlane, pod)}` };
      const forCertificate = await tokenFor(controlPlane, pod, { audiences: [x509Audience] });
      const ask = () =>
        Promise.all([
          tokenFor(controlPlane, pod).then((token) => starting.exchange(token)),
          starting.certify(forCertificate, stubRequest(makeKey('ECDSA P-256'))),
          starting.call({ path: '/bundles', headers: bearer }),
        ]);
      for (const refused of await ask()) {
        assertRefused(refused, 'NotReady', 503, 'temporarily_unavailable');
        assert.match(refused.text, /the signer has not read workloadregistrations yet/);
        assert.ok(Number(refused.headers['retry-after']) > 0);
      }

      lists.remove();
      await starting.signer.ready();
      const [jwt, x509, bundles] = await ask();
      assert.deepEqual([jwt?.status, x509?.status, bundles?.status], [200, 200, 200], jwt?.text);
      const [, claims = ''] = String(jwt?.json.access_token).split('.');
      const { sub } = JSON.parse(Buffer.from(claims, 'base64url').toString());
      assert.equal(sub, 'spiffe://example.org/ns/default/registered');
    } finally {
      lists.remove();
      starting.agent.destroy();
      await starting.signer.child.stop();
    }
  });

  it('a replica that may not list the FederatedTrustDomains gives SVIDs, but serves no bundles without theirs', async () => {
    await installRegistrations(controlPlane);
    await controlPlane.kubectl(['apply', '-f', federationRbac]);
    await endpoint.signer.ready();
    const lists = proxy.add({
      ...{ method: 'GET', path: /\/v1alpha1\/federatedtrustdomains\?/ },
      fault: { kind: 'answer', status: 403 },
    });
    const starting = await startTokenSigner(installed, {
      ...{ replica: 'signer-b', flags: ['--federation', 'true'] },
    });
    try {
      await starting.signer.ready();
      for (const target of ['/bundles', '/bundles/partner.example']) {
        const refused = await starting.call({ path: target });
        assertRefused(refused, 'NotReady', 503, 'temporarily_unavailable');
        assert.match(refused.text, /the FederatedTrustDomains were not read yet/);
      }
      assert.equal((await starting.exchange(await aToken())).status, 200);

      lists.remove();
      await waitFor('the bundles', async () => (await starting.call({ path: '/bundles' })).status === 200, {
        needs: [starting.signer.child],
      });
      assertRefused(
        await starting.call({ path: '/bundles/partner.example' }),
        'TrustDomainNotFederated',
        404,
      );
    } finally {
      lists.remove();
      starting.agent.destroy();
      await starting.signer.child.stop();
    }
  });
});
