import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { createPod, requestFor } from '../contract/workloads.ts';
import { type Ran, run } from '../tools/run.ts';
import { rolesAt } from './roles.ts';
import { asServiceAccount, type Method } from './speaker.ts';

const role = 'kubespiffe-request-viewer';
const manifest = join(
  import.meta.dirname,
  `../../manifests/base/${role.replace('kubespiffe-', '')}-role.yaml`,
);
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const requests = '/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests';

let controlPlane: ControlPlane;
let kubeconfig = '';
let request = '';

before(async () => {
  controlPlane = await startControlPlane();
  await controlPlane.kubectl(['apply', '--server-side', '-f', manifest]);
  request = (await requestFor(controlPlane, await createPod(controlPlane))).metadata.name;
  await controlPlane.kubectl(['create', 'serviceaccount', 'viewer', '--namespace', 'default']);
  await controlPlane.kubectl([
    ...['create', 'rolebinding', 'request-viewers', '--namespace', 'default', '--clusterrole', role],
    ...['--serviceaccount', 'default:viewer'],
  ]);
  kubeconfig = await controlPlane.kubeconfigFor({ namespace: 'default', name: 'viewer' });
});
after(() => controlPlane?.stop());

const inspect = (): Promise<Ran> => run(['inspect', 'pcr', `default/${request}`, '--kubeconfig', kubeconfig]);
const list = async (): Promise<Ran> => {
  const viewer = await asServiceAccount(controlPlane, { namespace: 'default', name: 'viewer' });
  const { status, message } = await viewer('GET', requests);
  return { code: status === 200 ? 0 : 1, stdout: '', stderr: message };
};
/** What is granted, and what cannot do without. */
const checks: Record<string, () => Promise<Ran>> = {
  'podcertificaterequests get': inspect,
  'podcertificaterequests list': list,
};

test('each verb of the role to view requests is needed, and is enough', async (t) => {
  const roles = rolesAt(controlPlane, [`${rbac}/clusterroles/${role}`]);
  assert.deepEqual((await roles.grants()).sort(), Object.keys(checks).sort());
  for (const [grant, look] of Object.entries(checks)) {
    await t.test(`without "${grant}"`, async () => {
      await waitFor('the right', async () => (await look()).code === 0);
      await roles.without(grant, async () => {
        const refused = await waitFor('the refusal', async () => {
          const ran = await look();
          return ran.code !== 0 && ran;
        });
        assert.match(
          refused.stderr,
          new RegExp(`cannot ${grant.split(' ')[1]} resource "podcertificaterequests"`),
        );
      });
    });
  }
});

test('an error without the permission names the role that gives it', async () => {
  await controlPlane.kubectl(['create', 'serviceaccount', 'stranger', '--namespace', 'default']);
  const stranger = await controlPlane.kubeconfigFor({ namespace: 'default', name: 'stranger' });
  const refused = await run(['inspect', 'pcr', `default/${request}`, '--kubeconfig', stranger]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^hint: .*ClusterRole kubespiffe-request-viewer/m);
});

test('the role view of Kubernetes does not let its members read requests', async () => {
  const { body } = await controlPlane.request('GET', `${rbac}/clusterroles/view`);
  const { rules } = body as { rules: { resources?: string[] }[] };
  assert.ok(rules.some(({ resources }) => resources?.includes('pods')));
  assert.ok(!rules.some(({ resources }) => resources?.includes('podcertificaterequests')));
});

test('the role to view requests is limited to the namespace of its binding', async (t) => {
  const viewer = await asServiceAccount(controlPlane, { namespace: 'default', name: 'viewer' });
  const forbidden: [what: string, Method, path: string, body?: object, contentType?: string][] = [
    ['requests of other namespaces', 'GET', requests.replace('default', 'kube-system')],
    ['requests of all namespaces', 'GET', '/apis/certificates.k8s.io/v1/podcertificaterequests'],
    ['answers', 'PATCH', `${requests}/${request}/status`, { status: {} }, 'application/merge-patch+json'],
    ['the deletion of a request', 'DELETE', `${requests}/${request}`],
    ['Secrets', 'GET', '/api/v1/namespaces/default/secrets'],
  ];
  for (const [what, ...call] of forbidden) {
    await t.test(`no ${what}`, async () => assert.equal((await viewer(...call)).status, 403));
  }
});
