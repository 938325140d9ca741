import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { applyAdmissionPolicy, bindingPath, policyPath } from './admission-policy.ts';
import { startInstalledSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, read, requestFor } from './workloads.ts';

describe('a signer whose admission policy is missing or changed', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    signer = await startInstalledSigner(controlPlane);
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
  });

  const newRequest = async () => requestFor(controlPlane, await createPod(controlPlane));
  const auditedOf = ({ metadata }: PodCertificateRequest, of = signer) =>
    of.lines().filter((line) => line.audit && (line.request as { uid: string }).uid === metadata.uid);
  const waitsFor = (request: PodCertificateRequest, reason: string) =>
    waitFor(`word of ${reason}`, () => auditedOf(request).find((line) => line.reason === reason));
  const inForce = () =>
    signer.metric('kubespiffe_admission_policy_in_force', { request_admission: 'policy' });
  const problemSaid = (problem: RegExp, of = signer) =>
    waitFor(
      `${problem}`,
      async () => {
        const { ok, text } = await of.readiness();
        const line = text.split('\n').find((each) => each.startsWith('[-]admission-policy')) ?? '';
        if (!ok && problem.test(line)) return true;
        throw new Error(text);
      },
      { needs: [of.child] },
    );
  const noteOn = (podUID: string, reason: string): Promise<string> =>
    waitFor(`the Event ${reason}`, async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as { items: { reason: string; note: string; regarding: { uid: string } }[] };
      return items.find((event) => event.regarding.uid === podUID && event.reason === reason)?.note;
    });

  /** Replaces a spec; Kubernetes writes the status of a policy meanwhile. */
  // biome-ignore lint/suspicious/noExplicitAny: the specs of two kinds
  async function putSpec(path: string, specFrom: (spec: any) => object): Promise<void> {
    await waitFor(`${path} to be replaced`, async () => {
      const { body } = await controlPlane.request('GET', path);
      const { status } = await controlPlane.request('PUT', path, { ...body, spec: specFrom(body.spec) });
      return status === 200;
    });
  }

  it('a signer is ready with the policy of manifests/base', async () => {
    assert.match((await signer.readiness()).text, /^\[\+\]admission-policy only nodes create requests$/m);
    assert.equal(await inForce(), 1);
  });

  let unguarded: PodCertificateRequest;

  it('a signer answers nothing while the policy is missing, and reports that', async () => {
    await controlPlane.request('DELETE', bindingPath);
    await controlPlane.request('DELETE', policyPath);
    await problemSaid(/ValidatingAdmissionPolicy kubespiffe-requests-from-nodes-only does not exist/);
    assert.equal(await inForce(), 0);
    await waitFor(
      'the metric',
      async () => (await signer.metric('kubespiffe_can_sign', { kind: 'x509' })) === 0,
    );
    // As every client with the permission to create requests can now.
    const pod = await createPod(controlPlane);
    const byNode = await requestFor(controlPlane, pod);
    const path = '/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests';
    const forged = { metadata: { generateName: 'req-' }, spec: byNode.spec };
    unguarded = await waitFor('the API server to forget the policy', () =>
      create<PodCertificateRequest>(controlPlane, path, forged),
    );
    const waits = await waitsFor(unguarded, 'RequestsUnguarded');
    assert.equal(waits.outcome, 'Wait');
    const note = await noteOn(pod.metadata.uid ?? '', 'RequestsUnguarded');
    assert.match(note, /does not exist\)\. Apply manifests\/base\/admission-policy\.yaml/);
    const errors = signer.lines().filter(({ level }) => level === 'error');
    assert.ok(
      errors.some(({ msg }) => /the admission policy is not in force: .*not exist/.test(String(msg))),
    );
    assert.deepEqual((await read(controlPlane, unguarded)).status ?? {}, {});
  });

  it('a request that was created without the policy stays unanswered once it is back', async () => {
    await applyAdmissionPolicy(controlPlane);
    await signer.ready();
    const { conditions } = await answerTo(controlPlane, await newRequest());
    assert.equal(conditions?.[0]?.type, 'Issued');
    await waitsFor(unguarded, 'CreatedUnguarded');
    const note = await noteOn(unguarded.spec.podUID, 'CreatedUnguarded');
    assert.match(note, /created before the admission policy was in force .*Delete the request/);
    assert.deepEqual((await read(controlPlane, unguarded)).status ?? {}, {});
  });

  const requests = {
    apiGroups: ['certificates.k8s.io'],
    apiVersions: ['v1', 'v1beta1'],
    resources: ['podcertificaterequests'],
    operations: ['CREATE'],
  };
  const everybody = { name: 'x', expression: 'true' };
  const changes: [what: string, path: string, spec: object, problem: RegExp][] = [
    [
      'lets requests pass on errors',
      policyPath,
      { failurePolicy: 'Ignore' },
      /failurePolicy Ignore, not Fail/,
    ],
    ['asks something else', policyPath, { validations: [{ expression: 'true' }] }, /lacks the validation/],
    ['has another condition', policyPath, { matchConditions: [everybody] }, /matchCondition that is not/],
    [
      'matches no creation',
      policyPath,
      { matchConstraints: { resourceRules: [{ ...requests, operations: ['DELETE'] }] } },
      /no resourceRule for CREATE/,
    ],
    [
      'leaves a version out',
      policyPath,
      { matchConstraints: { resourceRules: [{ ...requests, apiVersions: ['v1'] }] } },
      /no resourceRule for CREATE .* in v1 and v1beta1/,
    ],
    [
      'leaves resources out',
      policyPath,
      { matchConstraints: { excludeResourceRules: [requests] } },
      /matchConstraints\.excludeResourceRules/,
    ],
    [
      'leaves namespaces out',
      policyPath,
      { matchConstraints: { namespaceSelector: { matchLabels: { a: 'b' } } } },
      /matchConstraints\.namespaceSelector/,
    ],
    [
      'only warns',
      bindingPath,
      { validationActions: ['Warn'] },
      /validationActions \["Warn"\], without Deny/,
    ],
    ['is bound to another policy', bindingPath, { policyName: 'other' }, /is of the policy other/],
    [
      'is bound for some objects only',
      bindingPath,
      { matchResources: { objectSelector: { matchLabels: { a: 'b' } } } },
      /matchResources\.objectSelector/,
    ],
  ];

  it('a signer sees by the generation whether it missed a change of the policy or its binding', async () => {
    for (const [path, field, value] of [
      [policyPath, 'failurePolicy', 'Ignore'],
      [bindingPath, 'validationActions', ['Warn']],
    ] as const) {
      const generation = async () =>
        (await controlPlane.request('GET', path)).body.metadata.generation as number;
      const before = await generation();
      const { body } = await controlPlane.request('GET', path);
      await putSpec(path, (spec) => ({ ...spec, [field]: value }));
      assert.equal(await generation(), before + 1, path);
      await putSpec(path, () => body.spec);
      assert.equal(await generation(), before + 2, path);
    }
    await signer.ready();
  });

  it('a signer answers nothing while the policy or its binding lets clients other than nodes create requests', async (t) => {
    const kept = await Promise.all(
      [policyPath, bindingPath].map(async (path) => (await controlPlane.request('GET', path)).body.spec),
    );
    for (const [what, path, spec, problem] of changes) {
      await t.test(what, async () => {
        const changed = await controlPlane.request('PATCH', path, { spec });
        assert.equal(changed.status, 200, JSON.stringify(changed.body));
        await problemSaid(problem);
        await putSpec(path, () => kept[path === policyPath ? 0 : 1]);
      });
    }
    const waiting = await newRequest();
    await waitsFor(waiting, 'CreatedUnguarded');
    await signer.ready();
    assert.equal((await answerTo(controlPlane, await newRequest())).conditions?.[0]?.type, 'Issued');
    assert.deepEqual((await read(controlPlane, waiting)).status ?? {}, {});
  });

  it('a signer accepts a policy that refuses more', async () => {
    await putSpec(policyPath, ({ matchConditions: _, ...spec }) => ({
      ...spec,
      validations: [...spec.validations, { expression: "request.namespace != 'nowhere'" }],
      matchConstraints: { resourceRules: [{ ...requests, apiVersions: ['*'], operations: ['*'] }] },
    }));
    assert.equal((await answerTo(controlPlane, await newRequest())).conditions?.[0]?.type, 'Issued');
    assert.equal(await inForce(), 1);
  });

  it('a signer answers without the policy if the setting names another guard, and warns of it', async () => {
    await controlPlane.request('DELETE', policyPath);
    await problemSaid(/does not exist/);
    const kubeconfig = await controlPlane.kubeconfigFor({
      namespace: 'kubespiffe',
      name: 'kubespiffe-signer',
    });
    const flags = ['--request-admission', 'external'];
    const starting = await startSigner({ kubeconfig, replica: 'signer-starting' });
    const external = await startSigner({ kubeconfig, replica: 'signer-external', flags });
    await external.ready();
    assert.match(
      (await external.readiness()).text,
      /^\[\+\]admission-policy requestAdmission is external, so requests are answered although .* does not exist$/m,
    );
    assert.match(
      await (await fetch(`${external.url}/metrics`)).text(),
      /^kubespiffe_admission_policy_in_force\{request_admission="external"\} 0$/m,
    );
    const warnings = external.lines().filter(({ level }) => level === 'warn');
    assert.ok(warnings.some(({ msg }) => /the admission policy is not in force/.test(String(msg))));
    const request = await newRequest();
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    await waitFor('the audit line', () =>
      auditedOf(request, external).some(({ outcome }) => outcome === 'Issued'),
    );
    // A replica that starts without the policy says so as well.
    await problemSaid(/does not exist/, starting);
    await starting.child.stop();
    await external.child.stop();
  });
});
