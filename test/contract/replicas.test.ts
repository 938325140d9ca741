import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { ranking } from '../../signer/kube/ranking.ts';
import type { Lease, Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

interface PodEvent {
  readonly reason: string;
  readonly note: string;
  readonly reportingInstance: string;
  readonly regarding: { readonly uid: string };
}

interface WithManagers {
  readonly metadata: {
    readonly managedFields?: { readonly manager: string; readonly subresource?: string }[];
  };
}

interface Waiting {
  readonly pod: Pod;
  readonly request: PodCertificateRequest;
}

const names = ['signer-a', 'signer-b'] as const;
const ownerOf = ({ request }: Waiting) => ranking(request.metadata.uid ?? '', names)[0];

/** Requests that have to wait, which two replicas keep in view: one of them tells of each. */
describe('two replicas with requests that wait', () => {
  let controlPlane: ControlPlane;
  let signers: readonly SignerProcess[];
  let pool: PoolDocument;

  before(async () => {
    controlPlane = await startControlPlane();
    const kubeconfig = await installSigner(controlPlane);
    pool = await aPool();
    await putPool(controlPlane, pool);
    signers = await Promise.all(names.map((replica) => startSigner({ kubeconfig, replica })));
    await Promise.all(signers.map((signer) => signer.ready()));
    await waitFor('both to be members', async () => {
      const path = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
      const leases = (await controlPlane.request('GET', path)).body.items as Lease[];
      return names.every((name) => leases.some(({ spec }) => spec?.holderIdentity === name));
    });
    await deletePool(controlPlane);
    for (const signer of signers) {
      await waitFor('it to see that', async () => (await signer.readiness()).text.includes('no such Secret'));
    }
  });
  after(async () => {
    await Promise.all((signers ?? []).map((signer) => signer.child.stop()));
    await controlPlane?.stop();
  });

  /** So many requests, at least two of each replica. */
  async function makeWaiting(count: number): Promise<Waiting[]> {
    const made: Waiting[] = [];
    const isShared = () => names.every((name) => made.filter((each) => ownerOf(each) === name).length > 1);
    while (made.length < count || !isShared()) {
      const pod = await createPod(controlPlane);
      made.push({ pod, request: await requestFor(controlPlane, pod) });
    }
    return made;
  }

  async function eventsOf({ pod }: Waiting): Promise<PodEvent[]> {
    const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
    return (body.items as PodEvent[]).filter(({ regarding }) => regarding.uid === pod.metadata.uid);
  }

  const auditsOf = ({ request }: Waiting, all = signers) =>
    all.flatMap((signer) =>
      signer
        .lines()
        .filter((line) => line.audit && (line.request as { uid: string }).uid === request.metadata.uid),
    );

  async function countedWaits(): Promise<number> {
    const counts = await Promise.all(
      signers.map((signer) => signer.metric('kubespiffe_issuance_total', { reason: 'PoolUnusable' })),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  let waiting: Waiting[];

  it('a waiting request is reported once: Event, audit line and metric come from its owner', async () => {
    waiting = await makeWaiting(8);
    for (const each of waiting) {
      const [event] = await waitFor('its Event', async () => {
        const found = await eventsOf(each);
        return found.length > 0 && found;
      });
      assert.equal(event?.reason, 'PoolUnusable');
      assert.equal(event?.reportingInstance, ownerOf(each));
    }
    // The other replica has had its turn as well once it has looked the request over.
    await waitFor('the takeover delay to be over', async () => {
      const oldest = await Promise.all(
        signers.map((each) => each.metric('kubespiffe_oldest_pending_seconds')),
      );
      return oldest.every((seconds) => seconds > 4);
    });
    for (const each of waiting) {
      assert.equal((await eventsOf(each)).length, 1);
      assert.deepEqual(
        auditsOf(each).map(({ replica, outcome }) => [replica, outcome]),
        [[ownerOf(each), 'Wait']],
      );
    }
    assert.equal(await countedWaits(), waiting.length);
  });

  it('a waiting request is reported again when its reason changes', async () => {
    await putPool(controlPlane, await aPool({ trustDomain: 'example.com' }));
    for (const each of waiting) {
      await waitFor('an Event that says so', async () =>
        (await eventsOf(each)).some(({ note }) => note.includes('example.com')),
      );
      assert.equal((await eventsOf(each)).length, 2);
    }
  });

  it('every waiting pod has an Event even if one replica dies', async () => {
    const [victim] = signers;
    await victim?.child.stop('SIGKILL');
    const more = await makeWaiting(6);
    for (const each of more) {
      const [event] = await waitFor('its Event', async () => {
        const found = await eventsOf(each);
        return found.length > 0 && found;
      });
      assert.equal(event?.reportingInstance, 'signer-b');
      assert.equal((await eventsOf(each)).length, 1);
      assert.deepEqual(
        auditsOf(each).map(({ replica }) => replica),
        ['signer-b'],
      );
    }
    waiting.push(...more);
  });

  it('waiting requests are all answered once the replicas can sign', async () => {
    await putPool(controlPlane, pool);
    for (const { request } of waiting) {
      const { conditions } = await answerTo(controlPlane, request);
      assert.equal(conditions?.[0]?.type, 'Issued');
    }
  });

  it('a replica whose name is too long for the API server uses one short name everywhere', async () => {
    await Promise.all(signers.map((signer) => signer.child.stop()));
    const kubeconfig = await controlPlane.kubeconfigFor({
      namespace: 'kubespiffe',
      name: 'kubespiffe-signer',
    });
    const replica = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(62)).join('.');
    const signer = await startSigner({ kubeconfig, replica });
    await signer.ready();
    // Cut where Events cut it, this name would end in a hyphen.
    const pod = await createPod(controlPlane, { name: `${'w'.repeat(229)}-1` });
    const issued = await requestFor(controlPlane, pod);
    const denied = await requestFor(controlPlane, pod, {
      unverifiedUserAnnotations: { 'example.org/a': 'b' },
    });
    for (const [request, type] of [
      [issued, 'Issued'],
      [denied, 'Denied'],
    ] as const) {
      assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, type);
    }
    const event = await waitFor('its Event', async () => (await eventsOf({ pod, request: denied }))[0]);

    const { metadata } = (await read(controlPlane, issued)) as WithManagers;
    const manager = metadata.managedFields?.find(({ subresource }) => subresource === 'status')?.manager;
    assert.match(manager ?? '', /^a{62}\.b+-[0-9a-f]{16}$/);
    assert.equal(event.reportingInstance, manager);
    const path = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
    const leases = (await controlPlane.request('GET', path)).body.items as Lease[];
    assert.ok(leases.some(({ spec }) => spec?.holderIdentity === manager));
    assert.ok(auditsOf({ pod, request: issued }, [signer]).some((line) => line.replica === manager));
  });
});
