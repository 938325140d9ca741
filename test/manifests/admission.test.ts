import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';
import { certificateRequest, joinNode, type RequestFacts, requestsPath, type TestNode } from './nodes.ts';
import { asCertificate, asServiceAccount, type Speaker } from './speaker.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const refusal =
  /only kubelets may create PodCertificateRequests for kubespiffe\.io\/spiffe, and ".*" is not a node/;

let controlPlane: ControlPlane;
let node: TestNode;
let facts: RequestFacts;
/** Users that RBAC allows to create requests, so that only the policy is left to refuse them. */
let strangers: Map<string, Speaker>;

before(async () => {
  controlPlane = await startControlPlane({ betaApis: true, nodeRestriction: true });
  await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  node = await joinNode(controlPlane, 'node-a');
  facts = await node.newPod('web');

  const mayCreate = [
    { apiGroups: ['certificates.k8s.io'], resources: ['podcertificaterequests'], verbs: ['create'] },
  ];
  const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles';
  await create(controlPlane, roles, { metadata: { name: 'create-requests' }, rules: mayCreate });
  const user = (name: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name });
  await create(controlPlane, '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'create-requests' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'create-requests' },
    subjects: [
      user('system:node:node-a'),
      user('mallory'),
      { kind: 'ServiceAccount', namespace: 'default', name: 'default' },
    ],
  });
  const certificate = async (commonName: string, organization?: string) =>
    asCertificate(
      controlPlane,
      await controlPlane.authority.issue({ commonName, ...(organization && { organization }) }),
    );
  strangers = new Map([
    ['the cluster administrator', await certificate('admin', 'system:masters')],
    ['a user with the name of a node and without its group', await certificate('system:node:node-a')],
    ['a user in the group of nodes without the name of one', await certificate('mallory', 'system:nodes')],
    ['a ServiceAccount', await asServiceAccount(controlPlane, { namespace: 'default', name: 'default' })],
  ]);

  const admin = strangers.get('the cluster administrator');
  const request = await certificateRequest(facts);
  await waitFor('the policy to take effect', async () => {
    const answer = await admin?.('POST', `${requestsPath()}?dryRun=All`, request);
    return answer?.status === 403 && refusal.test(answer.message);
  });
});
after(() => controlPlane?.stop());

for (const version of ['v1', 'v1beta1'] as const) {
  test(`a node creates requests for its pods in ${version}`, async () => {
    const answer = await node.speak('POST', requestsPath(version), await certificateRequest(facts, version));
    assert.equal(answer.status, 201, answer.message);
  });

  for (const who of [
    'the cluster administrator',
    'a user with the name of a node and without its group',
    'a user in the group of nodes without the name of one',
    'a ServiceAccount',
  ]) {
    test(`${who} creates none in ${version}, and is told who may`, async () => {
      const answer = await strangers.get(who)?.(
        'POST',
        requestsPath(version),
        await certificateRequest(facts, version),
      );
      assert.equal(answer?.status, 403, answer?.message);
      assert.match(answer?.message ?? '', refusal);
    });
  }
}

test("requests of others' signers are none of our business", async () => {
  const foreign = await certificateRequest({ ...facts, signerName: 'other.example/spiffe' });
  const answer = await strangers.get('the cluster administrator')?.('POST', requestsPath(), foreign);
  assert.equal(answer?.status, 201, answer?.message);
});

test('every signer name of kubespiffe.io is covered, and no name that only begins like it', async () => {
  const create = async (signerName: string) =>
    strangers.get('the cluster administrator')?.(
      'POST',
      `${requestsPath()}?dryRun=All`,
      await certificateRequest({ ...facts, signerName }),
    );
  assert.equal((await create('kubespiffe.io/service-dns'))?.status, 403);
  assert.equal((await create('kubespiffe.io.example/spiffe'))?.status, 201);
});

test('a node still cannot ask for a pod of another node', async () => {
  const other = await joinNode(controlPlane, 'node-b');
  const answer = await other.speak('POST', requestsPath(), await certificateRequest(facts));
  assert.equal(answer.status, 403);
  assert.doesNotMatch(answer.message, refusal);
});
