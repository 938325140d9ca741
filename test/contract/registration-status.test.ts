import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { RegistrationStatus } from '../../signer/identity/registration-status.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installRegistrations, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, read, requestFor } from './workloads.ts';

const api = '/apis/kubespiffe.io/v1alpha1';
const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const below = 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/';
const byApp = `${below}app/{{ index .PodMeta.Labels "app" }}`;

interface Registered {
  metadata: { generation: number };
  spec: Record<string, unknown>;
  status?: RegistrationStatus;
}

describe('registrations in a cluster', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    const kubeconfig = await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
    // Pods of a node that does not exist are deleted after a while.
    await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
    for (const name of ['shop', 'bank', 'crowd'])
      await create(controlPlane, '/api/v1/namespaces', { metadata: { name } });
    await waitFor('ServiceAccounts', async () => {
      const { status } = await controlPlane.request(
        'GET',
        '/api/v1/namespaces/crowd/serviceaccounts/default',
      );
      return status === 200;
    });
    signer = await startSigner({ kubeconfig });
    await signer.ready();
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
  });

  const place = (name: string, namespace = 'shop') =>
    `${api}/namespaces/${namespace}/workloadregistrations/${name}`;
  const register = (name: string, spec: object, namespace = 'shop') =>
    create<Registered>(controlPlane, `${api}/namespaces/${namespace}/workloadregistrations`, {
      ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'WorkloadRegistration', metadata: { name } },
      spec,
    });
  const change = (at: string, patch: object) => controlPlane.request('PATCH', at, patch);
  const remove = (at: string) => controlPlane.request('DELETE', at);
  const podIn = (namespace: string, labels: Record<string, string> = {}) =>
    createPod(controlPlane, { namespace, labels });
  /** What the SPIFFE ID of a pod would be, from the certificate of a request. */
  async function nameOf(pod: Pod): Promise<string> {
    const { certificateChain } = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    return new X509Certificate(certificateChain ?? '').subjectAltName ?? '';
  }
  async function statusOnce(
    at: string,
    isRight: (status: RegistrationStatus) => boolean,
  ): Promise<RegistrationStatus> {
    let last: unknown;
    return waitFor(`the status of ${at}`, async () => {
      const { status, metadata } = (await controlPlane.request('GET', at)).body as Registered;
      last = status;
      const isNew = status?.observedGeneration === metadata.generation;
      return status && isNew && isRight(status) ? status : undefined;
    }).catch((error) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
  }
  const conditionsOf = ({ conditions }: RegistrationStatus) =>
    Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));

  it('without the CRDs a pod has the name of its ServiceAccount, and readiness reports what is missing', async () => {
    assert.equal(await nameOf(await podIn('shop')), 'URI:spiffe://example.org/ns/shop/sa/default');
    const { ok, text } = await signer.readiness();
    assert.ok(ok);
    assert.match(
      text,
      /registrations.*does not serve workloadregistrations and clusterworkloadregistrations: apply/,
    );
  });

  it('a signer finds CRDs that are installed while it runs, and creates the policy without grants', async () => {
    await installRegistrations(controlPlane);
    const policy = `${api}/clusterregistrationpolicies/default`;
    const created = async () => {
      const { status, body } = await controlPlane.request('GET', policy);
      return status === 200 && body;
    };
    const { spec } = await waitFor('the policy', created);
    assert.deepEqual(spec, {});
    await waitFor('readiness', async () => /serves the registrations/.test((await signer.readiness()).text));
    await remove(policy);
    await waitFor('the policy again', created);
    await register('web', { podSelector: { matchLabels: { app: 'web' } }, spiffeIDTemplate: byApp });
    await statusOnce(place('web'), ({ podsSelected }) => podsSelected === 0);
    assert.equal(
      await nameOf(await podIn('shop', { app: 'web' })),
      'URI:spiffe://example.org/ns/shop/app/web',
    );
  });

  it('the signer publishes its trust domain in the policy, and `kubectl apply` refuses a registration with another one', async () => {
    const policy = `${api}/clusterregistrationpolicies/default`;
    const status = async () => (await controlPlane.request('GET', policy)).body.status?.trustDomains;
    const own = [{ className: '', trustDomain: 'example.org' }];
    const isOwn = async () => JSON.stringify(await status()) === JSON.stringify(own);
    await waitFor('the trust domain', isOwn);
    for (const [kind, namespace] of [
      ['WorkloadRegistration', 'shop'],
      ['ClusterWorkloadRegistration', undefined],
    ] as const) {
      const spec = { serviceAccountNames: ['a'], spiffeIDTemplate: 'spiffe://partner.example/ns/shop/web' };
      const input = JSON.stringify({
        ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind, metadata: { name: 'elsewhere', namespace }, spec },
      });
      await waitFor(`${kind} to be refused`, async () => {
        const applied = controlPlane.kubectl(['apply', '--dry-run=server', '-f', '-'], { input });
        const refusal = await applied.then(() => '', String);
        return /partner\.example, and the signer of registrations without a className is in example\.org/.test(
          refusal,
        );
      });
    }
    // Somebody else's entry stays, and a wrong one of our own is corrected.
    const others = [{ className: 'blue', trustDomain: 'blue.example' }];
    const wrong = [{ className: '', trustDomain: 'partner.example' }, ...others];
    assert.equal((await change(`${policy}/status`, { status: { trustDomains: wrong } })).status, 200);
    const right = JSON.stringify([...own, ...others]);
    await waitFor('the correction', async () => JSON.stringify(await status()) === right);
    assert.equal((await change(`${policy}/status`, { status: { trustDomains: own } })).status, 200);
  });

  // Each waits for the 5 s between two writes of a status.
  describe('the status of a registration', { concurrency: true }, () => {
    it('the status counts the pods with their name from it, and those that a higher priority names', async () => {
      await register('canary', {
        ...{ podSelector: { matchLabels: { app: 'web', track: 'canary' } }, priority: 10 },
        spiffeIDTemplate: `${below}canary`,
      });
      const canary = await podIn('shop', { app: 'web', track: 'canary' });
      const web = await statusOnce(place('web'), ({ podsSelected }) => podsSelected === 2);
      assert.deepEqual([web.namesGiven, web.failureCount, web.failures], [1, 0, []]);
      const { namesGiven } = await statusOnce(place('canary'), ({ podsSelected }) => podsSelected === 1);
      assert.equal(namesGiven, 1);
      assert.equal(await nameOf(canary), 'URI:spiffe://example.org/ns/shop/canary');
      assert.deepEqual(conditionsOf(web), {
        ...{ Ready: 'True NamesGiven', TemplateInvalid: 'False Valid', Conflicting: 'False NoConflict' },
      });
      await remove(`/api/v1/namespaces/shop/pods/${canary.metadata.name}?gracePeriodSeconds=0`);
      await statusOnce(place('canary'), ({ podsSelected }) => podsSelected === 0);
      await statusOnce(place('web'), ({ podsSelected }) => podsSelected === 1);
    });

    it('the status names the pods that get no name, why, and since when', async () => {
      const spiffeIDTemplate = `${below}team/{{ index .PodMeta.Labels "team" }}`;
      await register('teams', { podSelector: { matchLabels: { app: 'teams' } }, spiffeIDTemplate });
      await podIn('shop', { app: 'teams', team: 'red' });
      const { conditions: before } = await statusOnce(place('teams'), ({ namesGiven }) => namesGiven === 1);
      const without = await podIn('shop', { app: 'teams' });
      const failing = await statusOnce(place('teams'), ({ failureCount }) => failureCount === 1);
      const name = `shop/${without.metadata.name}`;
      const [failure] = failing.failures;
      assert.deepEqual([failure?.pod, failure?.reason], [name, 'IdentityInvalid']);
      assert.match(failure?.message ?? '', /WorkloadRegistration shop\/teams: the pod has no label team/);
      assert.deepEqual(conditionsOf(failing), {
        ...{
          Ready: 'False PodsWithoutName',
          TemplateInvalid: 'False Valid',
          Conflicting: 'False NoConflict',
        },
      });
      const since = (type: string, conditions: RegistrationStatus['conditions']) =>
        conditions.find((each) => each.type === type)?.lastTransitionTime;
      assert.equal(since('TemplateInvalid', failing.conditions), since('TemplateInvalid', before));

      await change(`/api/v1/namespaces/shop/pods/${without.metadata.name}`, {
        metadata: { labels: { team: 'blue' } },
      });
      const { failures, namesGiven } = await statusOnce(
        place('teams'),
        ({ failureCount }) => failureCount === 0,
      );
      assert.deepEqual([failures, namesGiven], [[], 2]);
    });

    it('two registrations that conflict both report that, and the pod is named when one of them is deleted', async () => {
      const podSelector = { matchLabels: { app: 'fought-over' } };
      await register('one', { podSelector, spiffeIDTemplate: `${below}one` });
      await register('two', { podSelector, spiffeIDTemplate: `${below}two` });
      const pod = await podIn('shop', { app: 'fought-over' });
      const request = await requestFor(controlPlane, pod);
      for (const name of ['one', 'two']) {
        const status = await statusOnce(place(name), ({ failureCount }) => failureCount === 1);
        assert.equal(conditionsOf(status).Conflicting, 'True SamePriority');
        assert.match(status.conditions[2]?.message ?? '', /same priority by shop\/one, shop\/two\./);
      }
      assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
      await remove(place('two'));
      const { certificateChain } = await answerTo(controlPlane, request);
      const { subjectAltName } = new X509Certificate(certificateChain ?? '');
      assert.equal(subjectAltName, 'URI:spiffe://example.org/ns/shop/one');
      assert.equal(
        conditionsOf(await statusOnce(place('one'), ({ namesGiven }) => namesGiven === 1)).Conflicting,
        'False NoConflict',
      );
    });

    it('a grant gives a path, and its removal takes the name away', async () => {
      const policy = `${api}/clusterregistrationpolicies/default`;
      const grants = [{ namespaces: ['bank'], pathPrefixes: ['/vaults/'] }];
      assert.equal((await change(policy, { spec: { grants } })).status, 200);
      const spec = { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/vaults/main' };
      await waitFor('the grant to be seen by the API server', () =>
        register('vault', spec, 'bank').catch(() => false),
      );
      const pod = await podIn('bank');
      await statusOnce(place('vault', 'bank'), ({ namesGiven }) => namesGiven === 1);
      assert.equal(await nameOf(pod), 'URI:spiffe://example.org/vaults/main');
      await change(policy, { spec: { grants: [] } });
      const { failures } = await statusOnce(place('vault', 'bank'), ({ failureCount }) => failureCount === 1);
      assert.match(
        failures[0]?.message ?? '',
        /is not below \/ns\/bank\/; a ClusterRegistrationPolicy can grant more/,
      );
    });
  });

  it('the status is written once in 5 s at most while 150 pods come, and not at all when nothing changes', async () => {
    await register('crowd', { spiffeIDTemplate: `${below}crowd` }, 'crowd');
    await statusOnce(place('crowd', 'crowd'), () => true);
    const writes = () =>
      signer.metric('kubespiffe_api_requests_total', {
        verb: 'PATCH',
        resource: 'workloadregistrations/status',
      });
    const [before, startedAt] = [await writes(), performance.now()];
    for (let made = 0; made < 150; made += 10)
      await Promise.all(Array.from({ length: 10 }, () => podIn('crowd', { made: String(made) })));
    await statusOnce(place('crowd', 'crowd'), ({ namesGiven }) => namesGiven === 150);
    const seconds = (performance.now() - startedAt) / 1000;
    const written = (await writes()) - before;
    assert.ok(written >= 1 && written <= 2 + seconds / 5, `${written} writes in ${seconds} s`);

    const { resourceVersion } = (await controlPlane.request('GET', place('crowd', 'crowd'))).body.metadata;
    await change('/api/v1/namespaces/crowd', { metadata: { annotations: { any: 'change' } } });
    await register('later', { spiffeIDTemplate: `${below}later`, priority: -1 }, 'crowd');
    // It has its status after another look at all the pods, which took no name from the first.
    await statusOnce(place('later', 'crowd'), ({ podsSelected }) => podsSelected === 150);
    assert.equal(
      (await controlPlane.request('GET', place('crowd', 'crowd'))).body.metadata.resourceVersion,
      resourceVersion,
    );
  });

  it('a field of a newer version gives no name, because it may restrict what the rest gives', async () => {
    const crd = `${crds}/workloadregistrations.kubespiffe.io`;
    const { body } = await controlPlane.request('GET', crd);
    body.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.onlyOnTuesdays = {
      type: 'boolean',
    };
    assert.equal((await controlPlane.request('PUT', crd, body)).status, 200);
    const spec = { podSelector: { matchLabels: { app: 'newer' } }, spiffeIDTemplate: `${below}newer` };
    await waitFor('the field to be kept', async () => {
      await remove(place('newer'));
      const { spec: kept } = await register('newer', { ...spec, onlyOnTuesdays: true });
      return kept.onlyOnTuesdays;
    });
    await podIn('shop', { app: 'newer' });
    // A watch that was opened before the CRD changed shows objects without the field until the API server ends it.
    await waitFor('the signer to see the field', async () => {
      await change(place('newer'), { metadata: { annotations: { touched: String(Date.now()) } } });
      const { status } = (await controlPlane.request('GET', place('newer'))).body as Registered;
      return status?.failureCount === 1;
    });
    const status = await statusOnce(place('newer'), ({ failureCount }) => failureCount === 1);
    assert.deepEqual(conditionsOf(status), {
      ...{ Ready: 'False SpecInvalid', TemplateInvalid: 'True SpecInvalid', Conflicting: 'False NoConflict' },
    });
    assert.match(
      status.conditions[0]?.message ?? '',
      /onlyOnTuesdays is not a field of a WorkloadRegistration/,
    );
  });

  it('an object that bypassed every rule is read, and its status reports what is wrong with it', async () => {
    const crd = `${crds}/workloadregistrations.kubespiffe.io`;
    const { body } = await controlPlane.request('GET', crd);
    const { schema } = body.spec.versions[0];
    schema.openAPIV3Schema.properties.spec = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    assert.equal((await controlPlane.request('PUT', crd, body)).status, 200);
    for (const place of ['namespace', 'trust-domain'])
      await remove(
        `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/kubespiffe-registrations-in-${place}`,
      );
    const bad = { spiffeIDTemplate: { not: 'text' }, podSelector: 7, priority: 'high', ttl: ['1h'] };
    await waitFor('the rules to be gone', () => register('bad', bad).catch(() => false));
    await register('foreign', {
      podSelector: { matchLabels: { app: 'foreign' } },
      spiffeIDTemplate: 'spiffe://example.org/ns/bank/x',
    });
    await podIn('shop', { app: 'foreign' });
    const ofBad = await statusOnce(place('bad'), () => true);
    assert.equal(conditionsOf(ofBad).TemplateInvalid, 'True SpecInvalid');
    const { failures } = await statusOnce(place('foreign'), ({ failureCount }) => failureCount === 1);
    assert.match(
      failures[0]?.message ?? '',
      /spiffe:\/\/example\.org\/ns\/bank\/x is not below \/ns\/shop\//,
    );
  });

  it('the signer has reported no internal error after the tests of registrations', () => {
    const failed = signer.lines().filter(({ level }) => level === 'error' || level === 'fatal');
    assert.deepEqual(failed, []);
  });
});
