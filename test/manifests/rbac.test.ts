import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { loadConfig } from '../../signer/config/load.ts';
import { registrationSpecs } from '../../signer/identity/registration-specs.ts';
import { allServices } from '../../signer/kube/services.ts';
import { neededPermissions } from '../../signer/permissions.ts';
import { podIdentity } from '../../signer/signers/pod-identity.ts';
import { serviceDns } from '../../signer/signers/service-dns.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';
import { certificateRequest, joinNode, requestsPath } from './nodes.ts';
import {
  bundle,
  type Check,
  conditionChecks,
  denial,
  federationChecks,
  recordChecks,
  registrationPolicy,
  rootsConfigMap,
  rotationChecks,
  serviceDnsChecks,
  signerChecks,
} from './rbac-checks.ts';
import { type Roles, rolesAt } from './roles.ts';
import { type Answer, asServiceAccount, type Method, type Speaker } from './speaker.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const rbacOf = (name: string) => join(import.meta.dirname, `../../manifests/${name}/rbac.yaml`);
const components = ['token-endpoint', 'roots-configmap', 'service-dns', 'rotation'].map(rbacOf);
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const rolePaths = [
  `${rbac}/clusterroles/kubespiffe-signer`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-signer`,
  `${rbac}/clusterroles/kubespiffe-token-endpoint`,
  `${rbac}/clusterroles/kubespiffe-roots-configmap`,
] as const;
const serviceDnsRolePaths = [
  `${rbac}/clusterroles/kubespiffe-service-dns`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-service-dns`,
] as const;

const recordRolePath = `${rbac}/namespaces/kubespiffe/roles/kubespiffe-signed-until`;
const conditionRolePath = `${rbac}/namespaces/kubespiffe/roles/kubespiffe-pod-condition`;
const rotationRolePath = `${rbac}/namespaces/kubespiffe/roles/kubespiffe-rotation`;

/** Not bound before its own test: it grants for every bundle what the others grant by name. */
const federationRolePath = `${rbac}/clusterroles/kubespiffe-federation`;

let controlPlane: ControlPlane;
let signer: Speaker;
/** Roles with the checks of what they grant. The same grant may be in several, for other names. */
let granted: { readonly roles: Roles; readonly checks: readonly Check[] }[];

before(async () => {
  controlPlane = await startControlPlane({ nodeRestriction: true });
  await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  for (const file of [...components, rbacOf('federation')])
    await controlPlane.kubectl(['apply', '--server-side', '-f', file]);
  await controlPlane.request('DELETE', `${rbac}/clusterrolebindings/kubespiffe-federation`);
  signer = await asServiceAccount(controlPlane, { namespace: 'kubespiffe', name: 'kubespiffe-signer' });
  granted = [
    { roles: rolesAt(controlPlane, rolePaths), checks: await signerChecks(controlPlane) },
    { roles: rolesAt(controlPlane, serviceDnsRolePaths), checks: await serviceDnsChecks(controlPlane) },
    { roles: rolesAt(controlPlane, [rotationRolePath]), checks: rotationChecks },
    { roles: rolesAt(controlPlane, [conditionRolePath]), checks: await conditionChecks(controlPlane) },
    {
      roles: rolesAt(controlPlane, [recordRolePath]),
      checks: await recordChecks(controlPlane, 'kubespiffe-pool'),
    },
  ];
});
after(() => controlPlane?.stop());

const isAllowed = async (check: Check) => (await check.call(signer)).status < 300;

/** `sign` is checked by the validation of the status, so that lacking it is a 422; status.ts knows it by its cause. */
const isRefusal = ({ status, causes }: Answer) =>
  status === 403 ||
  (status === 422 &&
    causes.some(({ reason, field }) => reason === 'FieldValueForbidden' && field === 'spec.signerName'));

test('every verb that the manifests grant has a check, and only those', async () => {
  for (const { roles, checks } of granted) {
    assert.deepEqual(checks.map(({ grant }) => grant).sort(), (await roles.grants()).sort());
  }
});

interface GrantingRole {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules: { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }[];
}

test('the signer checks for every right that the manifests grant it, and for no other, and names the role', async () => {
  const argv = [
    ...['--trust-domain', 'example.org', '--roots-config-map', 'kubespiffe-roots'],
    ...['--token-address', ':8443', '--jwt-issuer', 'https://id.example.org'],
    ...['--service-dns-enabled', 'true', '--federation', 'true'],
  ];
  const loaded = await loadConfig({ argv, env: {}, readFile: async () => '' });
  assert.ok(loaded.kind === 'config');
  const facts = Object.values({ ...registrationSpecs(loaded.config), allServices }).map((spec) => ({ spec }));
  const signers = [
    { profile: spiffe, facts },
    { profile: podIdentity, facts: [] },
    { profile: serviceDns, facts: [{ spec: allServices }] },
  ];
  const checked = neededPermissions(loaded.config, signers, false)
    .filter(({ grantedBy }) => !grantedBy.endsWith('of Kubernetes itself'))
    .map(({ grantedBy, group, resource, subresource, name, verb }) =>
      [grantedBy, group, subresource ? `${resource}/${subresource}` : resource, name, verb].join(' '),
    );
  const rights: string[] = [];
  for (const path of [...rolePaths, ...serviceDnsRolePaths, recordRolePath, federationRolePath]) {
    const { kind, metadata, rules } = (await controlPlane.request('GET', path)).body as GrantingRole;
    const role = `${kind} ${metadata.name}${metadata.namespace ? ` in namespace ${metadata.namespace}` : ''}`;
    for (const { apiGroups, resources, resourceNames = [''], verbs } of rules)
      for (const group of apiGroups)
        for (const resource of resources)
          for (const name of resourceNames)
            for (const verb of verbs) rights.push([role, group, resource, name, verb].join(' '));
  }
  assert.deepEqual(checked.sort(), rights.sort());
});

/** Takes each verb away in turn, and gives it back. */
async function assertEachIsNeeded(
  t: TestContext,
  rights: readonly { readonly roles: Roles; readonly checks: readonly Check[] }[],
): Promise<void> {
  for (const { roles, check } of rights.flatMap(({ roles, checks }) =>
    checks.map((check) => ({ roles, check })),
  )) {
    await t.test(`without "${check.grant}" the signer cannot ${check.purpose}`, async () => {
      await waitFor(`${check.grant} to be granted`, () => isAllowed(check), { everyMs: 20 });
      await roles.without(check.grant, async () => {
        const refused = await waitFor(
          `${check.grant} to be refused`,
          async () => {
            const answer = await check.call(signer);
            return isRefusal(answer) && answer;
          },
          { everyMs: 20 },
        );
        assert.match(refused.message, /forbidden|is not permitted to/);
      });
      await waitFor(`${check.grant} to be granted again`, () => isAllowed(check), { everyMs: 20 });
    });
  }
}

test('each verb of the manifests is needed: without it, its call is forbidden', (t) =>
  assertEachIsNeeded(t, granted));

test('the FlowSchema has every call of the signer but TokenReviews and Events', async () => {
  const at = '/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/kubespiffe-signer';
  const { uid } = (await controlPlane.request('GET', at)).body.metadata;
  const leftToKubernetes = ['tokenreviews create', 'events create', 'events patch'];
  // `sign` and `attest` are checked within calls of others.
  for (const check of granted.flatMap(({ checks }) => checks)) {
    const { flowSchema } = await check.call(signer);
    assert.equal(flowSchema === uid, !leftToKubernetes.includes(check.grant), check.grant);
  }
  const review = { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } };
  const others = [
    await signer('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', review),
    await signer('GET', '/apis/certificates.k8s.io/v1'),
    await signer('GET', '/apis/certificates.k8s.io/v1/clustertrustbundles?watch=true'),
  ];
  assert.deepEqual(
    others.map(({ flowSchema }) => flowSchema),
    others.map(() => uid),
  );
});

test('ClusterTrustBundles are readable without a rule of ours', async () => {
  const path = '/apis/certificates.k8s.io/v1/clustertrustbundles';
  assert.equal((await signer('GET', path)).status, 200);
  assert.equal((await signer('GET', `${path}?watch=true`)).status, 200);
});

test('the issuer and the keys of ServiceAccount tokens are readable without the binding of Kubernetes itself', async () => {
  const ofKubernetes = `${rbac}/clusterrolebindings/system:service-account-issuer-discovery`;
  const ours = `${rbac}/clusterrolebindings/kubespiffe-issuer-discovery`;
  const read = async () =>
    Promise.all(
      ['/.well-known/openid-configuration', '/openid/v1/jwks'].map(
        async (path) => (await signer('GET', path)).status,
      ),
    );
  assert.equal((await controlPlane.request('DELETE', ofKubernetes)).status, 200);
  const another = await asServiceAccount(controlPlane, { namespace: 'default', name: 'default' });
  const refusesOthers = async () => (await another('GET', '/openid/v1/jwks')).status === 403;
  await waitFor('others to be refused', refusesOthers, { everyMs: 20 });
  assert.deepEqual(await read(), [200, 200]);
  assert.equal((await controlPlane.request('DELETE', ours)).status, 200);
  await waitFor('the signer to be refused', async () => (await read()).join() === '403,403', { everyMs: 20 });
});

test('the signer has no right beyond its work', async (t) => {
  const root = controlPlane.authority.certificate;
  const facts = await (await joinNode(controlPlane, 'node-b')).newPod('other');
  const foreign = async (name: string, signerName: string) => {
    const request = await certificateRequest({ ...facts, signerName });
    await create(controlPlane, requestsPath(), { ...request, metadata: { name } });
  };
  await foreign('req-foreign', 'other.example/spiffe');
  for (const name of ['elsewhere', 'kubespiffe-other']) {
    const namespace = name === 'elsewhere' ? 'default' : 'kubespiffe';
    await create(controlPlane, `/api/v1/namespaces/${namespace}/secrets`, { metadata: { name } });
  }

  const certificates = '/apis/certificates.k8s.io/v1';
  const registrations = '/apis/kubespiffe.io/v1alpha1';
  const bundles = `${certificates}/clustertrustbundles`;
  const apply = (name: string) => `${bundles}/${name}?fieldManager=kubespiffe&force=true`;
  const applyPatch = 'application/apply-patch+yaml';
  const mergePatch = 'application/merge-patch+json';
  const secrets = '/api/v1/namespaces/kubespiffe/secrets';
  const forbidden: [what: string, Method, path: string, body?: object, contentType?: string][] = [
    ["answer another signer's request", 'PATCH', `${requestsPath()}/req-foreign/status`, denial, mergePatch],
    ['put a status as a whole', 'PUT', `${requestsPath()}/req-1/status`, denial],
    [
      'change a request',
      'PATCH',
      `${requestsPath()}/req-1`,
      { metadata: { labels: { a: 'b' } } },
      mergePatch,
    ],
    ['create a request', 'POST', requestsPath(), await certificateRequest(facts)],
    ['delete a request', 'DELETE', `${requestsPath()}/req-1`],
    [
      'publish another bundle of its own signer',
      'PATCH',
      apply('kubespiffe.io:spiffe:other'),
      bundle(root, 'kubespiffe.io:spiffe:other'),
      applyPatch,
    ],
    [
      "publish another signer's bundle",
      'PATCH',
      apply('other.example:spiffe:roots'),
      bundle(root, 'other.example:spiffe:roots', 'other.example/spiffe'),
      applyPatch,
    ],
    ['create a bundle by any name', 'POST', bundles, bundle(root)],
    ['delete its bundle', 'DELETE', `${bundles}/kubespiffe.io:spiffe:roots`],
    ['delete its preview bundle', 'DELETE', `${bundles}/kubespiffe.io:spiffe:roots-preview`],
    ['list the Secrets of its namespace', 'GET', secrets],
    ['watch the Secrets of its namespace', 'GET', `${secrets}?watch=true`],
    ['read another Secret of its namespace', 'GET', `${secrets}/kubespiffe-other`],
    ['read a Secret of another namespace', 'GET', '/api/v1/namespaces/default/secrets/elsewhere'],
    ['list the Secrets of the cluster', 'GET', '/api/v1/secrets'],
    ['change the pool', 'PATCH', `${secrets}/kubespiffe-pool`, { data: {} }, mergePatch],
    ['delete the pool', 'DELETE', `${secrets}/kubespiffe-pool`],
    ['create a Secret', 'POST', secrets, { metadata: { name: 'new' } }],
    [
      'change a pod',
      'PATCH',
      '/api/v1/namespaces/default/pods/web',
      { metadata: { labels: { a: 'b' } } },
      mergePatch,
    ],
    [
      'change the status of a pod in another namespace',
      'PATCH',
      '/api/v1/namespaces/default/pods/web/status',
      { status: { phase: 'Failed' } },
      mergePatch,
    ],
    ['create a pod', 'POST', '/api/v1/namespaces/kubespiffe/pods', { metadata: { name: 'new' } }],
    ['run a command in a pod', 'POST', '/api/v1/namespaces/default/pods/web/exec?command=id'],
    ['read the log of a pod', 'GET', '/api/v1/namespaces/default/pods/web/log'],
    [
      "make another ServiceAccount's token",
      'POST',
      '/api/v1/namespaces/default/serviceaccounts/default/token',
      { spec: {} },
    ],
    [
      'keep Leases in another namespace',
      'POST',
      '/apis/coordination.k8s.io/v1/namespaces/default/leases',
      { metadata: { name: 'x' } },
    ],
    ['delete an Event', 'DELETE', '/apis/events.k8s.io/v1/namespaces/default/events/told'],
    ['list nodes', 'GET', '/api/v1/nodes'],
    [
      'change a registration',
      'PATCH',
      `${registrations}/namespaces/default/workloadregistrations/web`,
      { spec: { priority: 1 } },
      mergePatch,
    ],
    ['delete a registration', 'DELETE', `${registrations}/clusterworkloadregistrations/web`],
    [
      'create a ClusterRegistrationPolicy of another name',
      'PATCH',
      `${registrations}/clusterregistrationpolicies/other?fieldManager=kubespiffe`,
      registrationPolicy('other'),
      applyPatch,
    ],
    ['list all ClusterRegistrationPolicies', 'GET', `${registrations}/clusterregistrationpolicies`],
    ['change a Service', 'PATCH', '/api/v1/namespaces/default/services/kubernetes', { spec: {} }, mergePatch],
    ['list all ConfigMaps', 'GET', '/api/v1/configmaps'],
    ['list the ConfigMaps of its namespace', 'GET', '/api/v1/namespaces/kubespiffe/configmaps'],
    ['watch another ConfigMap', 'GET', '/api/v1/configmaps?fieldSelector=metadata.name=other&watch=true'],
    [
      'put a ConfigMap of another name',
      'PATCH',
      '/api/v1/namespaces/default/configmaps/other?fieldManager=kubespiffe&force=true',
      rootsConfigMap('default', 'other'),
      applyPatch,
    ],
    [
      'create a ConfigMap by any name',
      'POST',
      '/api/v1/namespaces/default/configmaps',
      rootsConfigMap('default'),
    ],
    [
      'delete another ConfigMap',
      'DELETE',
      '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication',
    ],
    [
      'opt a namespace in',
      'PATCH',
      '/api/v1/namespaces/default',
      { metadata: { labels: { 'kubespiffe.io/roots': 'true' } } },
      mergePatch,
    ],
    ['widen its own role', 'PATCH', rolePaths[0], { rules: [] }, mergePatch],
    [
      'switch off the admission policy',
      'DELETE',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/kubespiffe-requests-from-nodes-only',
    ],
  ];
  for (const [what, ...call] of forbidden) {
    await t.test(`it cannot ${what}`, async () => {
      const answer = await signer(...call);
      assert.ok(isRefusal(answer), `${answer.status} ${answer.message}`);
    });
  }
});

test('federation has the rights that it needs, and still publishes for no other signer', async (t) => {
  await controlPlane.kubectl(['apply', '--server-side', '-f', rbacOf('federation')]);
  const roles = rolesAt(controlPlane, [federationRolePath]);
  const checks = await federationChecks(controlPlane);
  assert.deepEqual(checks.map(({ grant }) => grant).sort(), (await roles.grants()).sort());
  await assertEachIsNeeded(t, [{ roles, checks }]);
  const name = 'other.example:spiffe:peer.partner.example';
  const refused = await signer(
    'PATCH',
    `/apis/certificates.k8s.io/v1/clustertrustbundles/${name}?fieldManager=kubespiffe&force=true`,
    bundle(controlPlane.authority.certificate, name, 'other.example/spiffe'),
    'application/apply-patch+yaml',
  );
  assert.equal(refused.status, 403);
  assert.match(refused.message, /attest|not permitted/);
});
