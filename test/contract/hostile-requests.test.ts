import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { startInstalledSigner } from './installation.ts';
import type { SignerProcess } from './signer-process.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

/** What annotations may hold in all: the limit of the API server (validation.TotalAnnotationSizeLimitB). */
const maxAnnotationBytes = 256 * 1024;

/** What authors of pods write to get another identity, or to have something expanded, run or shown. */
const values = [
  'spiffe://example.org/ns/kube-system/sa/root',
  'URI:spiffe://example.org/admin,DNS:kubernetes.default.svc',
  '1.3.6.1.5.5.7.3.9,clientAuth,OCSPSigning',
  '$(KUBERNETES_SERVICE_HOST) $HOME `id` {{ .Values.admin }} %{pod.uid} {}',
  '{"spiffe_id":"spiffe://example.org/admin","__proto__":{"admin":true}}',
  "'; drop table pods; --\n\r\t\u0001",
];

/** Annotations of these values, filled up to all that the API server takes. */
function annotations(prefix: string): Record<string, string> {
  const given = Object.fromEntries(values.map((value, index) => [`${prefix}/wish-${index}`, value]));
  const filler = `${prefix}/filler`;
  const used = [...Object.entries(given).flat(), filler].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  );
  return { ...given, [filler]: 'spiffe:'.padEnd(maxAnnotationBytes - used, '/') };
}

describe('hostile requests', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    signer = await startInstalledSigner(controlPlane, { flags: ['--log-level', 'debug'] });
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
  });

  async function isOrdinary(request: PodCertificateRequest, path = 'ns/default/sa/default'): Promise<void> {
    const { certificateChain = '', conditions } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued');
    const leaf = new X509Certificate(certificateChain);
    assert.equal(leaf.subjectAltName, `URI:spiffe://example.org/${path}`);
    assert.equal(leaf.subject, undefined);
    assert.deepEqual(leaf.keyUsage?.toSorted(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  }

  const told = () => signer.output();
  const secretWords = ['drop table', 'kube-system/sa/root', 'OCSPSigning', '__proto__', '.Values.admin'];

  it('256 KiB of annotations on a pod, with names and expansions in them, change nothing', async () => {
    const pod = await createPod(controlPlane);
    const path = `/api/v1/namespaces/default/pods/${pod.metadata.name}`;
    const metadata = { annotations: annotations('kubespiffe.io') };
    assert.equal((await controlPlane.request('PATCH', path, { metadata })).status, 200);
    await isOrdinary(await requestFor(controlPlane, pod));
    for (const word of secretWords) assert.ok(!told().includes(word), word);
  });

  it('256 KiB of annotations in a request are denied by one key, and nothing of the values is repeated', async () => {
    const pod = await createPod(controlPlane);
    const unverifiedUserAnnotations = annotations('kubespiffe.io');
    const request = await requestFor(controlPlane, pod, { unverifiedUserAnnotations });
    const { conditions } = await answerTo(controlPlane, request);
    const [condition] = conditions ?? [];
    assert.deepEqual([condition?.type, condition?.reason], ['Denied', 'InvalidUnverifiedUserAnnotations']);
    assert.match(condition?.message ?? '', /kubespiffe\.io\/(filler|wish-\d)/);
    assert.ok((condition?.message ?? '').length < 500);
    const note = await waitFor('the Event', async () => noteOn(pod));
    for (const word of secretWords) {
      assert.ok(![condition?.message, note, told()].some((text) => text?.includes(word)), word);
    }
  });

  for (const [index, value] of values.entries()) {
    it(`an annotation is denied with any value: ${JSON.stringify(value).slice(0, 40)}`, async () => {
      const unverifiedUserAnnotations = { [`example.org/wish-${index}`]: value };
      const request = await requestFor(controlPlane, await createPod(controlPlane), {
        unverifiedUserAnnotations,
      });
      const [condition] = (await answerTo(controlPlane, request)).conditions ?? [];
      assert.equal(condition?.reason, 'InvalidUnverifiedUserAnnotations');
      assert.match(condition?.message ?? '', new RegExp(`"example\\.org/wish-${index}"`));
    });
  }

  it('pods that come and go in a loop are served or dropped, and delay no others', async () => {
    for (let round = 0; round < 20; round += 1) {
      const pod = await createPod(controlPlane, { name: 'fleeting' });
      await requestFor(controlPlane, pod);
      await controlPlane.request('DELETE', '/api/v1/namespaces/default/pods/fleeting?gracePeriodSeconds=0');
    }
    await isOrdinary(await requestFor(controlPlane, await createPod(controlPlane)));
    assert.equal((await signer.readiness()).ok, true);
    // A request that is dropped stays where it is, and is looked at no more.
    await waitFor('an empty queue', async () => (await signer.metric('kubespiffe_queue_depth')) === 0);
  });

  it('a namespace that comes and goes with its pods delays no others', async () => {
    const name = 'fleeting';
    // Not `default`, which a controller of this control plane makes at a time of its own.
    const serviceAccountName = 'web';
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name } });
    await create(controlPlane, `/api/v1/namespaces/${name}/serviceaccounts`, {
      metadata: { name: serviceAccountName },
    });
    const requests = await Promise.all(
      Array.from({ length: 10 }, async () =>
        requestFor(controlPlane, await createPod(controlPlane, { namespace: name, serviceAccountName })),
      ),
    );
    await controlPlane.request('DELETE', `/api/v1/namespaces/${name}`);
    for (const request of requests) await isOrdinary(request, `ns/${name}/sa/${serviceAccountName}`);
    await isOrdinary(await requestFor(controlPlane, await createPod(controlPlane)));
  });

  async function noteOn(pod: Pod): Promise<string | undefined> {
    const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
    const { items } = body as { items: { note?: string; regarding?: { uid?: string } }[] };
    return items.find(({ regarding }) => regarding?.uid === pod.metadata.uid)?.note;
  }
});
