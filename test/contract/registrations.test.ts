import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeJwt } from 'jose';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, putPool } from './installation.ts';
import { startSigner } from './signer-process.ts';
import {
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { answerTo, create, createPod, newRequestKey, read, requestFor } from './workloads.ts';

const api = '/apis/kubespiffe.io/v1alpha1';
const teamPath = `${api}/namespaces/default/workloadregistrations`;
const clusterPath = `${api}/clusterworkloadregistrations`;
const crdPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const realCrds = join(import.meta.dirname, '../../manifests/crds');
const own = 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/';
const annotation = 'kubespiffe.io/registration';

/** Specs that no CRD of ours takes, and that objects from before it may have. */
const unvalidated: Record<string, unknown> = {
  nothing: undefined,
  text: 'spiffe://example.org/ns/default/x',
  list: [{}, null],
  empty: { podSelector: { matchLabels: { app: 'empty' } } },
  numbers: { podSelector: 1, spiffeIDTemplate: 2, ttl: 3, audiences: 4, priority: 'high' },
  selector: { podSelector: { matchExpressions: [null, { key: {} }] }, spiffeIDTemplate: `${own}x` },
  deep: { spiffeIDTemplate: { a: { b: { c: [] } } }, podSelector: { matchLabels: { app: 'deep' } } },
  braces: { spiffeIDTemplate: '{{'.repeat(1000), podSelector: { matchLabels: { app: 'braces' } } },
  other: {
    spiffeIDTemplate: `${own.replace('.PodMeta.Namespace', '.TrustDomain')}x`,
    podSelector: { matchLabels: { app: 'other' } },
  },
};

describe('registrations on a cluster', () => {
  let controlPlane: ControlPlane;
  let endpoint: TokenSigner;

  const putRegistration = (name: string, spec: unknown, path = teamPath) =>
    create(controlPlane, path, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: path === teamPath ? 'WorkloadRegistration' : 'ClusterWorkloadRegistration',
      metadata: { name },
      spec,
    });
  const patch = async (name: string, spec: object) => {
    const { status, body } = await controlPlane.request('PATCH', `${teamPath}/${name}`, { spec });
    assert.equal(status, 200, JSON.stringify(body));
  };
  const selecting = (app: string, more: object = {}) => ({
    podSelector: { matchLabels: { app } },
    spiffeIDTemplate: `${own}app/{{ index .PodMeta.Labels "app" }}`,
    ...more,
  });
  const podOf = (app: string) => createPod(controlPlane, { labels: { app } });
  const ask = (pod: Pod, registration?: string) =>
    requestFor(
      controlPlane,
      pod,
      registration === undefined ? {} : { unverifiedUserAnnotations: { [annotation]: registration } },
    );
  async function namesOf(request: PodCertificateRequest): Promise<string | undefined> {
    const { certificateChain = '', conditions } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued', conditions?.[0]?.message);
    return new X509Certificate(certificateChain).subjectAltName;
  }
  /** The message of a wait that the signer has logged for a request. */
  const waitOf = (request: PodCertificateRequest, reason: string) =>
    waitFor(`${reason} of ${request.metadata.name}`, async () => {
      const line = endpoint.signer
        .lines()
        .find((each) => each.request === `default/${request.metadata.name}` && each.reason === reason);
      return line && String(line.msg);
    });
  const jwtSvid = async (pod: Pod, more: object = {}) =>
    endpoint.call({
      method: 'POST',
      path: '/jwt-svid',
      headers: {
        authorization: `Bearer ${await tokenFor(controlPlane, pod)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ audience: 'https://api.example.com', ...more }),
    });
  const auditOf = (member: string, value: unknown) =>
    waitFor(`an audit line with ${member} ${value}`, async () =>
      endpoint.signer.lines().find((line) => line.audit === true && line[member] === value),
    );

  before(async () => {
    controlPlane = await startControlPlane();
    const installed = await installTokenEndpoint(controlPlane);
    // Pods of a node that does not exist are deleted after a while.
    await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
    for (const [kind, scope] of [
      ['WorkloadRegistration', 'Namespaced'],
      ['ClusterWorkloadRegistration', 'Cluster'],
    ] as const) {
      const singular = kind.toLowerCase();
      await create(controlPlane, crdPath, {
        metadata: { name: `${singular}s.kubespiffe.io` },
        spec: {
          ...{ group: 'kubespiffe.io', scope, names: { kind, plural: `${singular}s`, singular } },
          versions: [
            {
              ...{ name: 'v1alpha1', served: true, storage: true },
              schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
            },
          ],
        },
      });
    }
    for (const path of [teamPath, clusterPath]) {
      await waitFor(
        `${path} to be served`,
        async () => (await controlPlane.request('GET', path)).status === 200,
      );
      for (const [name, spec] of Object.entries(unvalidated)) await putRegistration(name, spec, path);
    }
    await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', realCrds]);
    endpoint = await startTokenSigner(installed, {
      flags: ['--x509-svid', 'true', '--default-identity', 'none', '--jwt-lifetime', '10m'],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await endpoint?.signer.child.stop();
    await controlPlane?.stop();
  });

  it('invalid registrations from before any validation stop no replica and name no pod; readable ones select pods and report why', async () => {
    const rows = [
      ['empty', /spiffeIDTemplate is missing/],
      ['deep', /spiffeIDTemplate is an object, not text/],
      ['braces', /spiffeIDTemplate has "{{" without "}}" after it/],
      ['other', /is not below \/ns\/default\//],
    ] as const;
    for (const [app, message] of rows) {
      await controlPlane.request('DELETE', `${clusterPath}/${app}`);
      assert.match(await waitOf(await ask(await podOf(app)), 'IdentityInvalid'), message);
    }
    assert.deepEqual(
      endpoint.signer.lines().filter(({ level }) => level === 'error'),
      [],
    );
    for (const path of [teamPath, clusterPath]) {
      for (const name of Object.keys(unvalidated)) await controlPlane.request('DELETE', `${path}/${name}`);
    }
  });

  it('a pod without a registration waits, and gets its certificate as soon as there is one', async () => {
    const request = await ask(await podOf('late'));
    assert.match(await waitOf(request, 'NotRegistered'), /No registration matches this pod/);
    await putRegistration('late', selecting('late'));
    assert.equal(await namesOf(request), 'URI:spiffe://example.org/ns/default/app/late');
  });

  it('a request is answered by the registrations of that moment, also if they changed while it waited', async () => {
    await putRegistration(
      'changing',
      selecting('changing', { spiffeIDTemplate: `${own}{{ index .PodMeta.Labels "tier" }}` }),
    );
    const pod = await podOf('changing');
    const request = await ask(pod);
    assert.match(await waitOf(request, 'IdentityInvalid'), /the pod has no label tier/);
    await patch('changing', {
      spiffeIDTemplate: `${own}changed`,
      dnsNameTemplates: ['{{ .PodMeta.Name }}.bank.example'],
    });
    assert.match(
      await waitOf(await ask(pod), 'IdentityInvalid'),
      /no ClusterRegistrationPolicy grants the DNS name pod-/,
    );
    await patch('changing', { dnsNameTemplates: null, ttl: '2h' });
    assert.equal(await namesOf(request), 'URI:spiffe://example.org/ns/default/changed');
    const { status } = await read(controlPlane, request);
    const [from, to] = [status?.notBefore, status?.notAfter].map((time) => Date.parse(time ?? '') / 1000);
    assert.equal((to ?? 0) - (from ?? 0), 7200);
  });

  it('a registration of an administrator gives DNS names beside the SPIFFE ID: by template, and those of the current Services', async () => {
    const dnsNameTemplates = ['{{ index .PodMeta.Labels "app" }}.example.org'];
    await putRegistration(
      'named',
      selecting('named', { dnsNameTemplates, autoPopulateDNSNames: true }),
      clusterPath,
    );
    const pod = await podOf('named');
    const names = ['URI:spiffe://example.org/ns/default/app/named', 'DNS:named.example.org'];
    assert.equal(await namesOf(await ask(pod)), names.join(', '));
    await create(controlPlane, '/api/v1/namespaces/default/services', {
      metadata: { name: 'front' },
      spec: { selector: { app: 'named' }, ports: [{ port: 443 }] },
    });
    names.push('DNS:front.default.svc', 'DNS:front.default.svc.cluster.local');
    await waitFor(
      'the name of the Service',
      async () => (await namesOf(await ask(pod))) === names.join(', '),
    );
  });

  it('a policy that grants a name answers the request that waits for it', async () => {
    await putRegistration(
      'granted',
      selecting('granted', { spiffeIDTemplate: `spiffe://{{ .TrustDomain }}/teams/a/b` }),
    );
    const request = await ask(await podOf('granted'));
    await waitOf(request, 'IdentityInvalid');
    await create(controlPlane, `${api}/clusterregistrationpolicies`, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'ClusterRegistrationPolicy',
      metadata: { name: 'default' },
      spec: { grants: [{ namespaces: ['default'], pathPrefixes: ['/teams/a/'] }] },
    });
    assert.equal(await namesOf(request), 'URI:spiffe://example.org/teams/a/b');
  });

  it('a request chooses among several matching registrations, in each way to an SVID', async () => {
    await putRegistration(
      'one',
      selecting('two', { hint: 'first', jwtTTL: '2m', audiences: ['https://api.*'] }),
    );
    await putRegistration('two', selecting('two', { spiffeIDTemplate: `${own}second` }), clusterPath);
    const pod = await podOf('two');
    assert.match(
      await waitOf(await ask(pod), 'RegistrationAmbiguous'),
      /match this pod \(default\/one, two\)/,
    );
    assert.match(await waitOf(await ask(pod, 'three'), 'RegistrationNotMatching'), /there is no three/);
    const denied = await answerTo(controlPlane, await ask(pod, 'Three'));
    assert.equal(denied.conditions?.[0]?.type, 'Denied');
    assert.match(denied.conditions?.[0]?.message ?? '', /"Three", which is not the name of a registration/);

    const token = await tokenFor(controlPlane, pod, { expirationSeconds: 3600 });
    assert.equal((await endpoint.exchange(token)).json.reason, 'RegistrationAmbiguous');
    assert.equal((await jwtSvid(pod)).json.reason, 'RegistrationAmbiguous');
    for (const [name, id, registration] of [
      ['one', 'spiffe://example.org/ns/default/app/two', 'default/one'],
      ['two', 'spiffe://example.org/ns/default/second', 'two'],
    ] as const) {
      assert.equal(await namesOf(await ask(pod, name)), `URI:${id}`);
      const exchanged = await endpoint.exchange(token, { registration: name });
      for (const answer of [exchanged, await jwtSvid(pod, { registration: name })]) {
        assert.equal(answer.status, 200, answer.text);
        assert.equal(decodeJwt(String(answer.json.access_token)).sub, id);
        assert.equal(answer.json.registration, registration);
      }
      assert.equal(exchanged.json.expires_in, name === 'one' ? 120 : 600);
      assert.equal(exchanged.json.hint, name === 'one' ? 'first' : undefined);
      const certified = await endpoint.call({
        method: 'POST',
        path: `/x509-svid?registration=${name}`,
        headers: {
          authorization: `Bearer ${await tokenFor(controlPlane, pod, { audiences: [x509Audience] })}`,
          ...{ 'content-type': 'application/pkcs10', accept: 'application/json' },
        },
        body: Buffer.from(await newRequestKey(), 'base64'),
      });
      assert.equal(certified.status, 200, certified.text);
      assert.deepEqual([certified.json.spiffe_id, certified.json.registration], [id, registration]);
      await auditOf('registration', registration);
    }
    const elsewhere = await endpoint.exchange(token, {
      registration: 'one',
      audience: 'https://other.example',
    });
    assert.equal(elsewhere.json.reason, 'AudienceNotAllowed');
    assert.match(String(elsewhere.json.error_description), /the registration default\/one/);
  });

  it('a registration that is deleted while the token endpoint answers gives its name or a refusal, and no other name', async () => {
    await putRegistration('leaving', selecting('leaving'));
    const pod = await podOf('leaving');
    await waitFor('the first token', async () => (await jwtSvid(pod)).status === 200);
    const token = await tokenFor(controlPlane, pod);
    const outcomes = new Set<unknown>();
    const answered = async () => {
      const answer = await endpoint.exchange(token);
      const { access_token: jwt, reason } = answer.json;
      outcomes.add(jwt === undefined ? reason : decodeJwt(String(jwt)).sub);
    };
    await answered();
    const asking = (async () => {
      while (!outcomes.has('NotRegistered')) await Promise.all([answered(), answered(), answered()]);
    })();
    await controlPlane.request('DELETE', `${teamPath}/leaving`);
    await asking;
    await answered();
    assert.deepEqual([...outcomes], ['spiffe://example.org/ns/default/app/leaving', 'NotRegistered']);
    assert.match(await waitOf(await ask(pod), 'NotRegistered'), /No registration matches this pod/);
  });

  it('registrations of a class belong to its signer, which has its own trust domain, and neither signer answers for the other', async () => {
    const namespace = 'blue';
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace } });
    await putPool(controlPlane, await aPool({ trustDomain: 'blue.example' }), namespace);
    const blue = await startSigner({
      ...{ kubeconfig: controlPlane.kubeconfig, replica: 'blue-a', trustDomain: 'blue.example' },
      pool: `${namespace}/kubespiffe-pool`,
      flags: [
        ...['--registration-class', 'blue', '--default-identity', 'none', '--namespace', namespace],
        ...['--bundle-suffix', 'blue', '--pod-identity-enabled', 'false'],
      ],
    });
    try {
      await blue.ready();
      const policy = `${api}/clusterregistrationpolicies/default`;
      await waitFor('the trust domains of both', async () => {
        const { status } = (await controlPlane.request('GET', policy)).body;
        const found = Object.fromEntries(
          (status?.trustDomains ?? []).map((each: Record<string, string>) => [
            each.className,
            each.trustDomain,
          ]),
        );
        return found[''] === 'example.org' && found.blue === 'blue.example';
      });
      await putRegistration('sky', selecting('sky', { className: 'blue' }));
      await putRegistration('grass', selecting('grass'));
      const [sky, grass] = [await ask(await podOf('sky')), await ask(await podOf('grass'))];
      assert.equal(await namesOf(sky), 'URI:spiffe://blue.example/ns/default/app/sky');
      assert.equal(await namesOf(grass), 'URI:spiffe://example.org/ns/default/app/grass');
      assert.match(
        await waitOf(await ask(await podOf('neither')), 'NotRegistered'),
        /No registration matches this pod/,
      );
      const issued = (lines: Record<string, unknown>[]) =>
        lines.flatMap(({ audit, outcome, spiffeId }) =>
          audit && outcome === 'Issued' ? [String(spiffeId)] : [],
        );
      assert.deepEqual(
        await waitFor('the audit line', async () => {
          const ids = issued(blue.lines());
          return ids.length > 0 && ids;
        }),
        ['spiffe://blue.example/ns/default/app/sky'],
      );
      assert.ok(issued(endpoint.signer.lines()).every((id) => id.startsWith('spiffe://example.org/')));
    } finally {
      await blue.child.stop();
    }
  });
});
