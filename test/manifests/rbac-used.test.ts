import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';
import { aPool } from '../contract/installation.ts';
import {
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from '../contract/token-endpoint.ts';
import {
  answerTo,
  create,
  createPod,
  createSignerPod,
  requestFor,
  requestOfOldKubelet,
} from '../contract/workloads.ts';
import { x509KeyOf } from '../federation/bundles.ts';
import { run } from '../tools/run.ts';
import { type AskedFor, auditLogIn } from './audit-log.ts';
import { rolesAt } from './roles.ts';

const crds = join(import.meta.dirname, '../../manifests/crds');
const componentRoles = ['roots-configmap', 'service-dns', 'federation', 'rotation'].map((name) =>
  join(import.meta.dirname, `../../manifests/${name}/rbac.yaml`),
);
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const rolePaths = [
  `${rbac}/clusterroles/kubespiffe-signer`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-signer`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-signed-until`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-pod-condition`,
  `${rbac}/clusterroles/kubespiffe-token-endpoint`,
  `${rbac}/clusterroles/kubespiffe-roots-configmap`,
  `${rbac}/clusterroles/kubespiffe-federation`,
  `${rbac}/clusterroles/kubespiffe-service-dns`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-service-dns`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-rotation`,
];
const user = 'system:serviceaccount:kubespiffe:kubespiffe-signer';
const trustBundle = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';

/** What Kubernetes itself grants to every ServiceAccount (system:cluster-trust-bundle-discovery, system:basic-user, …). */
const grantedByKubernetes = [
  'clustertrustbundles get',
  'clustertrustbundles list',
  'clustertrustbundles watch',
  'selfsubjectaccessreviews create',
  '/.well-known/openid-configuration',
  '/openid/v1/jwks',
  '/apis/certificates.k8s.io/v1',
  '/apis/certificates.k8s.io/v1beta1',
  '/apis/kubespiffe.io/v1alpha1',
];
/** Asked of the authorizer by the API server itself, when a status or a bundle of the signer is written. */
const checkedWithin: Record<string, string> = {
  'signers sign': 'podcertificaterequests/status patch',
  'signers attest': 'clustertrustbundles patch',
};

let folder: string;
let auditLog: Awaited<ReturnType<typeof auditLogIn>>;
let controlPlane: ControlPlane;
let endpoint: TokenSigner;

before(async () => {
  folder = await makeStateFolder();
  auditLog = await auditLogIn(folder);
  controlPlane = await startControlPlane({ betaApis: true, apiServerFlags: auditLog.flags });
  const installed = await installTokenEndpoint(controlPlane);
  await controlPlane.kubectl(['apply', '--server-side', '-k', crds]);
  for (const file of componentRoles) await controlPlane.kubectl(['apply', '-f', file]);
  const words = ['ca', 'create', '--kind', 'service-dns', '--ca-id', 'dns-1'];
  const created = await run([...words, '--kubeconfig', controlPlane.kubeconfig]);
  assert.equal(created.code, 0, created.stderr);
  await createSignerPod(controlPlane);
  endpoint = await startTokenSigner(installed, {
    flags: [
      ...['--roots-config-map', 'kubespiffe-roots', '--service-dns-enabled', 'true'],
      ...['--federation', 'true', '--rotation', 'automatic'],
    ],
  });
  await endpoint.signer.ready();
});
after(async () => {
  endpoint?.agent.destroy();
  await endpoint?.signer.child.stop();
  await controlPlane?.stop();
  await removeStateFolder(folder);
});

const change = async (path: string, patch: object) =>
  assert.equal((await controlPlane.request('PATCH', path, patch)).status, 200);

/** Everything that the signer does, once: what it was granted for. */
async function useEverything(): Promise<void> {
  const pod = await createPod(controlPlane);
  await answerTo(controlPlane, await requestFor(controlPlane, pod));
  await answerTo(controlPlane, await requestOfOldKubelet(controlPlane, pod));
  const server = await createPod(controlPlane, { labels: { app: 'web' } });
  await create(controlPlane, '/api/v1/namespaces/default/services', {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 443 }] },
  });
  await answerTo(
    controlPlane,
    await requestFor(controlPlane, server, { signerName: 'kubespiffe.io/service-dns' }),
  );
  // Told on the pod twice: an Event, and its repetition.
  const annotated = { unverifiedUserAnnotations: { 'example.org/wish': 'a name' } };
  for (let i = 0; i < 2; i += 1) await answerTo(controlPlane, await requestFor(controlPlane, pod, annotated));
  // The pod of this one is looked up live.
  await requestFor(controlPlane, { ...pod, metadata: { ...pod.metadata, name: 'ghost' } });
  assert.equal((await endpoint.exchange(await tokenFor(controlPlane, pod))).status, 200);

  await change(trustBundle, { metadata: { labels: { 'k8s.spiffe.io/canarying': 'spoilt' } } });
  await repaired(trustBundle, ({ metadata }) => metadata.labels['k8s.spiffe.io/canarying'] === 'live');

  const registrations = '/apis/kubespiffe.io/v1alpha1';
  const spec = { serviceAccountNames: ['web'], spiffeIDTemplate: 'spiffe://example.org/ns/default/web' };
  for (const [path, kind] of [
    [`${registrations}/namespaces/default/workloadregistrations`, 'WorkloadRegistration'],
    [`${registrations}/clusterworkloadregistrations`, 'ClusterWorkloadRegistration'],
  ] as const) {
    const object = { apiVersion: 'kubespiffe.io/v1alpha1', kind, metadata: { name: 'web' }, spec };
    await create(controlPlane, path, object);
    await repaired(`${path}/web`, ({ status }) => status?.conditions?.length > 0);
  }
  await repaired(
    `${registrations}/clusterregistrationpolicies/default`,
    ({ status }) => status?.trustDomains,
  );

  const federated = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';
  const { authorities } = await aPool({ trustDomain: 'partner.example' });
  const key = x509KeyOf({ certificate: authorities[0]?.certificate ?? '' });
  await create(controlPlane, federated, {
    ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name: 'partner' } },
    spec: { trustDomain: 'partner.example', bundle: JSON.stringify({ keys: [key] }) },
  });
  const peer = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:peer.partner.example';
  await repaired(peer, ({ spec }) => spec !== undefined);
  await create(controlPlane, federated, {
    ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name: 'again' } },
    spec: { trustDomain: 'again.example', clusterTrustBundle: peer.slice(peer.lastIndexOf('/') + 1) },
  });
  await repaired(`${federated}/again`, ({ status }) => status?.conditions?.length > 0);
  await controlPlane.request('DELETE', `${federated}/partner`);
  await waitFor(
    'the bundle of the partner to go',
    async () => (await controlPlane.request('GET', peer)).status === 404,
  );

  const namespace = '/api/v1/namespaces/shop';
  const configMap = `${namespace}/configmaps/kubespiffe-roots`;
  const labels = { 'kubespiffe.io/roots': 'true' };
  await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'shop', labels } });
  await repaired(configMap, ({ data }) => data['roots.pem'] !== undefined);
  await change(configMap, { data: { 'roots.pem': 'spoilt' } });
  await repaired(configMap, ({ data }) => data['roots.pem'] !== 'spoilt');
  await change(namespace, { metadata: { labels: { 'kubespiffe.io/roots': null } } });
  await waitFor(
    'the ConfigMap to go',
    async () => (await controlPlane.request('GET', configMap)).status === 404,
  );
}

const isForbidden = ({ code }: AskedFor) => code === 401 || code === 403;

// biome-ignore lint/suspicious/noExplicitAny: objects of several kinds
async function repaired(path: string, isGood: (object: any) => boolean): Promise<void> {
  await waitFor(`${path} to be right`, async () => {
    const { status, body } = await controlPlane.request('GET', path);
    return status === 200 && isGood(body);
  });
}

test('a signer that does all it can uses every right that the manifests grant, and asks for nothing else', async () => {
  await useEverything();
  const grants = await rolesAt(controlPlane, rolePaths).grants();
  const asked = async () => {
    const allowed = (await auditLog.askedBy(user)).filter((each) => !isForbidden(each));
    return new Set(allowed.map(({ grant }) => grant));
  };
  const unused = async () => {
    const used = await asked();
    return grants.filter((grant) => !used.has(checkedWithin[grant] ?? grant));
  };
  // Renewals and repetitions come in their own time, and the last of all is to go.
  await waitFor('all but the parting', async () => {
    const left = await unused();
    if (left.join() === 'leases delete') return true;
    throw new Error(`not used yet: ${left.join(', ')}`);
  });
  await endpoint.signer.child.stop('SIGTERM');
  assert.deepEqual(await unused(), []);

  const known = new Set([...grants, ...grantedByKubernetes]);
  assert.deepEqual(
    [...(await asked())].filter((grant) => !known.has(grant)),
    [],
  );
});

test('the signer makes no call that is forbidden', async () => {
  const forbidden = (await auditLog.askedBy(user)).filter(isForbidden);
  assert.deepEqual(forbidden, []);
});
