import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';
import { type Ran, run } from '../tools/run.ts';
import { type Roles, rolesAt } from './roles.ts';
import { asServiceAccount, type Method, type Speaker } from './speaker.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const namespace = 'kubespiffe';
const name = 'kubespiffe-ca-operator';
const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
const rolePath = `${rbac}/roles/${name}`;
const secrets = `/api/v1/namespaces/${namespace}/secrets`;
const mergePatch = 'application/merge-patch+json';

let controlPlane: ControlPlane;
let roles: Roles;
let operator: Speaker;
let kubeconfig = '';
/** The pool as it was first: what `ca restore` is given. */
let copy = '';

const poolName = 'kubespiffe-pool';
const on = (pool: string, ...verb: string[]) => [...verb, '--namespace', namespace, '--name', pool];
const wishes = ['--ca-id', 'first', '--trust-domain', 'example.org'];

/** What is granted, and the commands that cannot do without. Some go on with a warning. */
const checks: { grant: string; commands: string[][]; warns?: true }[] = [
  { grant: 'configmaps get', commands: [on(poolName, 'ca', 'status')], warns: true },
  { grant: 'configmaps patch', commands: [on(poolName, 'ca', 'prepare')], warns: true },
  { grant: 'secrets create', commands: [[...on('new', 'ca', 'create'), ...wishes, '--dry-run=server']] },
  { grant: 'secrets get', commands: [on(poolName, 'ca', 'show'), on(poolName, 'bundle', 'show')] },
  {
    grant: 'secrets update',
    commands: [on(poolName, 'ca', 'add-jwt-key'), [...on(poolName, 'ca', 'restore'), '--from', '-']],
  },
];

before(async () => {
  controlPlane = await startControlPlane();
  await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  roles = rolesAt(controlPlane, [rolePath]);
});
after(() => controlPlane?.stop());

/** As the comment of the manifest has it, for a ServiceAccount. */
async function bindOperator(): Promise<void> {
  await controlPlane.kubectl(['create', 'serviceaccount', 'operator', '--namespace', namespace]);
  await controlPlane.kubectl([
    ...['create', 'rolebinding', 'ca-operators', '--namespace', namespace, '--role', name],
    ...['--serviceaccount', `${namespace}:operator`],
  ]);
  operator = await asServiceAccount(controlPlane, { namespace, name: 'operator' });
  kubeconfig = await controlPlane.kubeconfigFor({ namespace, name: 'operator' });
}

const kubespiffe = (command: readonly string[]): Promise<Ran> =>
  run([...command, '--kubeconfig', kubeconfig], { input: copy });

test('the role of operators has no members until it is bound', async () => {
  const { body } = await controlPlane.request('GET', `${rbac}/rolebindings`);
  const bindings = (body as { items: { roleRef: { name: string } }[] }).items;
  assert.ok(bindings.length > 0);
  assert.ok(bindings.every(({ roleRef }) => roleRef.name !== name));
  await bindOperator();
});

test('a user with the role of operators makes the pool, shows it, and changes it', async () => {
  const made = await waitFor('the right to make the pool', async () => {
    const ran = await kubespiffe(['ca', 'create', ...wishes]);
    return ran.code === 0 && ran;
  });
  assert.match(made.stdout, /^secret\/kubespiffe-pool created in namespace kubespiffe$/m);
  copy = JSON.stringify((await controlPlane.request('GET', `${secrets}/${poolName}`)).body);
  for (const command of checks.flatMap(({ commands }) => commands)) {
    const { code, stderr } = await kubespiffe(command);
    assert.equal(code, 0, stderr);
  }
});

test('every verb of the role of operators has a command, and only those', async () => {
  const ofOthers = ['configmaps create', 'events create'];
  assert.deepEqual([...checks.map(({ grant }) => grant), ...ofOthers].sort(), (await roles.grants()).sort());
});

test('each verb of the role of operators is needed: without it a command is refused with how to get the right', async (t) => {
  for (const { grant, commands, warns = false } of checks) {
    for (const command of commands) {
      const what = command.slice(0, 2).join(' ');
      await t.test(`without "${grant}" one cannot \`kubespiffe ${what}\``, async () => {
        const [resource, verb] = grant.split(' ');
        const isMissed = ({ stderr }: Ran) => stderr.includes(`cannot ${verb} resource "${resource}"`);
        await roles.without(grant, async () => {
          const refused = await waitFor(`${what} to be refused`, async () => {
            const ran = await kubespiffe(command);
            return isMissed(ran) && ran;
          });
          assert.equal(refused.code === 0, warns);
          assert.match(refused.stderr, warns ? /^warning: /m : /^hint: .*Role kubespiffe-ca-operator/m);
        });
        await waitFor(`${what} to be allowed again`, async () => {
          const ran = await kubespiffe(command);
          return ran.code === 0 && !isMissed(ran);
        });
      });
    }
  }
});

test('the right to begin the record is limited to its own name, and an Event needs its right', async () => {
  const record = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
  const at = `/api/v1/namespaces/${namespace}/configmaps`;
  const apply = (name: string) =>
    operator('PATCH', `${at}/${name}?fieldManager=test`, record(name), 'application/apply-patch+yaml');
  assert.equal((await controlPlane.request('DELETE', `${at}/${poolName}-signed-until`)).status, 200);
  assert.equal((await apply(`${poolName}-signed-until`)).status, 201);
  assert.equal((await apply('another')).status, 403);
  await controlPlane.request('DELETE', `${at}/${poolName}-signed-until`);
  for (const grant of ['configmaps create', 'events create']) {
    await roles.without(grant, async () => {
      await waitFor(`${grant} to be refused`, async () => {
        const events = `/apis/events.k8s.io/v1/namespaces/${namespace}/events?dryRun=All`;
        const { status } = grant.startsWith('events')
          ? await operator('POST', events, {})
          : await apply(`${poolName}-signed-until`);
        return status === 403;
      });
    });
  }
});

test('the role of operators has no right beyond the pool', async (t) => {
  for (const [where, other] of [
    [namespace, 'kubespiffe-other'],
    ['default', 'kubespiffe-pool'],
  ]) {
    await create(controlPlane, `/api/v1/namespaces/${where}/secrets`, { metadata: { name: other } });
  }
  const foreign = '/api/v1/namespaces/default/secrets';
  const deployment = `/apis/apps/v1/namespaces/${namespace}/deployments/kubespiffe-signer`;
  const forbidden: [what: string, Method, path: string, body?: object, contentType?: string][] = [
    ['list the Secrets', 'GET', secrets],
    ['watch the Secrets', 'GET', `${secrets}?watch=true`],
    ['watch the pool', 'GET', `${secrets}?watch=true&fieldSelector=metadata.name=kubespiffe-pool`],
    ['read another Secret', 'GET', `${secrets}/kubespiffe-other`],
    [
      'replace another Secret',
      'PUT',
      `${secrets}/kubespiffe-other`,
      { metadata: { name: 'kubespiffe-other' } },
    ],
    ['patch another Secret', 'PATCH', `${secrets}/kubespiffe-other`, { data: {} }, mergePatch],
    ['patch the pool, past what was read', 'PATCH', `${secrets}/kubespiffe-pool`, { data: {} }, mergePatch],
    ['delete the pool', 'DELETE', `${secrets}/kubespiffe-pool`],
    ['delete all Secrets', 'DELETE', secrets],
    ['read a pool of another namespace', 'GET', `${foreign}/kubespiffe-pool`],
    ['make a Secret in another namespace', 'POST', foreign, { metadata: { name: 'new' } }],
    ['read the settings', 'GET', `/api/v1/namespaces/${namespace}/configmaps`],
    ['change the signer', 'PATCH', deployment, { spec: { replicas: 0 } }, mergePatch],
    ['start a pod', 'POST', `/api/v1/namespaces/${namespace}/pods`, { metadata: { name: 'new' } }],
    [
      'become the signer',
      'POST',
      `/api/v1/namespaces/${namespace}/serviceaccounts/kubespiffe-signer/token`,
      { spec: {} },
    ],
    ['give the role to others', 'POST', `${rbac}/rolebindings`, { metadata: { name: 'more' } }],
    ['widen the role', 'PATCH', rolePath, { rules: [] }, mergePatch],
    ['read requests', 'GET', '/apis/certificates.k8s.io/v1/podcertificaterequests'],
  ];
  for (const [what, ...call] of forbidden) {
    await t.test(`one cannot ${what}`, async () => {
      const { status, message } = await operator(...call);
      assert.equal(status, 403, `${status} ${message}`);
    });
  }
});
