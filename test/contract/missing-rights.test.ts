import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { rolesAt } from '../manifests/roles.ts';
import { installSigner, startInstalledSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const group = 'certificates.k8s.io';
const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/kubespiffe-signer';
const user = 'system:serviceaccount:kubespiffe:kubespiffe-signer';

/** What a signer is granted to answer with, how the API server is asked for it, and what it says where it lacks. */
const rights: [grant: string, attributes: object, refusal: RegExp][] = [
  [
    'signers sign',
    { verb: 'sign', resource: 'signers', name: 'kubespiffe.io/spiffe' },
    /User "system:serviceaccount:kubespiffe:kubespiffe-signer" is not permitted to "sign"/,
  ],
  [
    'podcertificaterequests/status patch',
    { verb: 'patch', resource: 'podcertificaterequests', subresource: 'status' },
    /cannot patch resource "podcertificaterequests\/status"/,
  ],
];

/** The role that we ship, at a real API server, with one verb taken out while the signer runs. */
describe('a signer that lacks a right to answer', () => {
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

  async function isAllowed(attributes: object): Promise<boolean> {
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    const spec = { user, resourceAttributes: { group, ...attributes } };
    const { body } = await controlPlane.request('POST', path, { spec });
    return (body as { status: { allowed: boolean } }).status.allowed;
  }

  const auditedOf = ({ metadata }: PodCertificateRequest) =>
    signer.lines().filter((line) => line.audit && (line.request as { uid: string }).uid === metadata.uid);

  const noteOn = (podUID: string, reason: string): Promise<string> =>
    waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as { items: { reason: string; note: string; regarding: { uid: string } }[] };
      return items.find((event) => event.regarding.uid === podUID && event.reason === reason)?.note;
    });

  const forbidden = { outcome: 'wait', reason: 'SignerForbidden' };

  for (const [grant, attributes, refusal] of rights) {
    it(`the signer keeps a request open without "${grant}", reports that, and answers it once the rule is back`, async () => {
      const countedBefore = await signer.metric('kubespiffe_issuance_total', forbidden);
      const pod = await createPod(controlPlane);
      const [resource, verb] = grant.split(' ');
      const request = await rolesAt(controlPlane, [role]).without(grant, async () => {
        await waitFor('the right to be gone', async () => !(await isAllowed(attributes)));
        const made = await requestFor(controlPlane, pod);
        const note = await noteOn(made.spec.podUID, 'SignerForbidden');
        assert.match(note, refusal);
        assert.match(note, /forbids the signer to answer .*Apply the RBAC of manifests\/base again\.$/);
        const [waits] = auditedOf(made);
        assert.partialDeepStrictEqual(waits, { outcome: 'Wait', reason: 'SignerForbidden', message: note });
        assert.equal(await signer.metric('kubespiffe_issuance_total', forbidden), countedBefore + 1);
        assert.deepEqual((await read(controlPlane, made)).status ?? {}, {});
        await waitFor('the right to be named', async () => {
          const { ok, text } = await signer.readiness();
          return !ok && text.includes(`${verb} ${resource} (ClusterRole kubespiffe-signer)`);
        });
        // `sign` is granted for each signer by its name.
        const names = resource === 'signers' ? 2 : 1;
        assert.equal(await signer.metric('kubespiffe_missing_permissions'), names);
        return made;
      });
      // The back-off of a request ends at 30 s.
      const { conditions } = await answerTo(controlPlane, request);
      assert.equal(conditions?.[0]?.type, 'Issued');
      await waitFor('the audit line', () => auditedOf(request).length === 2);
      assert.deepEqual(
        auditedOf(request).map(({ reason }) => reason),
        ['SignerForbidden', 'Issued'],
      );
      assert.equal(await signer.metric('kubespiffe_status_rejected_total'), 0);
      await signer.ready();
    });
  }

  it('the signer signs once while it is forbidden to answer for any time, and that answer is finally accepted', async () => {
    // After so long any other trouble leads to a new signature.
    const signsAnewAfterMs = 25_000;
    const pod = await createPod(controlPlane);
    const { request, createdAt, heldFor } = await rolesAt(controlPlane, [role]).without(
      'signers sign',
      async () => {
        await waitFor('the right to be gone', async () => !(await isAllowed(rights[0]?.[1] ?? {})));
        const createdAt = Date.now();
        const request = await requestFor(controlPlane, pod);
        const heldFor = () => Date.now() - createdAt;
        await waitFor('a signature to be too old', () => heldFor() > signsAnewAfterMs + 5_000);
        assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
        return { request, createdAt, heldFor: heldFor() };
      },
    );
    const { certificateChain } = await answerTo(controlPlane, request);
    const leaf = new X509Certificate(certificateChain ?? '');
    const backdatedMs = 120_000;
    const signedAt = Date.parse(leaf.validFrom) + backdatedMs;
    assert.ok(heldFor > signsAnewAfterMs);
    assert.ok(signedAt < createdAt + 5_000, `signed ${signedAt - createdAt} ms after the request was made`);
    await waitFor('the audit line', () => auditedOf(request).length === 2);
    assert.equal(auditedOf(request).at(-1)?.serial, leaf.serialNumber.toLowerCase());
  });

  const binding = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubespiffe-signer';
  const missing =
    /^\[-\]permissions the API server forbids: .*list podcertificaterequests, .*patch podcertificaterequests\/status, .*\(ClusterRole kubespiffe-signer\)/m;

  it('the signer names every missing right and the role after a deleted binding, while it runs and at its start', async () => {
    await controlPlane.request('DELETE', binding);
    await waitFor('the binding to be gone', async () => !(await isAllowed(rights[1]?.[1] ?? {})));
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    await waitFor('the running replica to say so', async () => {
      const { ok, text } = await signer.readiness();
      return !ok && missing.test(text);
    });
    assert.ok((await signer.metric('kubespiffe_missing_permissions')) > 10);
    assert.ok(
      signer
        .lines()
        .some(({ level, msg }) => level === 'error' && /forbids: .*ClusterRole/.test(String(msg))),
    );
    const [warned] = signer
      .lines()
      .filter(({ reason, audit }) => !audit && reason === 'SignerForbidden')
      .slice(-1);
    assert.equal(warned?.level, 'warn');

    const kubeconfig = await controlPlane.kubeconfigFor({
      namespace: 'kubespiffe',
      name: 'kubespiffe-signer',
    });
    const starting = await startSigner({ kubeconfig, replica: 'signer-b' });
    await waitFor(
      'the starting replica to say so',
      async () => missing.test((await starting.readiness()).text),
      {
        needs: [starting.child],
      },
    );

    await installSigner(controlPlane);
    await Promise.all([signer.ready(), starting.ready()]);
    assert.equal(await signer.metric('kubespiffe_missing_permissions'), 0);
    const { conditions } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued');
    await starting.child.stop();
  });
});
