import type { InformerSpec } from '../../signer/kube/informer.ts';
import type { Lease, ObjectMeta } from '../../signer/kube/types.ts';

/** A Lease, and when the API server wrote down its last change, by its own clock. */
export interface LeaseView extends Lease {
  metadata: ObjectMeta & { managedFields?: { time?: string }[] };
}

/** The Leases of replicas and nodes. */
export const allLeases: InformerSpec<LeaseView, LeaseView> = {
  resource: { group: 'coordination.k8s.io', versions: ['v1'], name: 'leases' },
  fields: {
    metadata: { name: true, namespace: true, uid: true, labels: true, managedFields: { time: true } },
    spec: true,
  },
  project: (wire) => wire,
};

const signerLabels = { 'app.kubernetes.io/name': 'kubespiffe', 'kubespiffe.io/component': 'signer' };

/** Whether it is the Lease of a replica of a signer. */
export function isOfSigner({ metadata }: LeaseView): boolean {
  return Object.entries(signerLabels).every(([key, value]) => metadata.labels?.[key] === value);
}

/** When the API server wrote a Lease last, by its own clock, in whole seconds. */
export function writtenAtMs({ metadata }: LeaseView): number {
  return Math.max(0, ...(metadata.managedFields ?? []).map(({ time = '' }) => Date.parse(time) || 0));
}

/** Names of the replicas that renew their Lease in this namespace. @param now epoch seconds of the API server. */
export function liveReplicas(leases: Iterable<LeaseView>, namespace: string, now: number): string[] {
  return [...leases]
    .filter((lease) => isOfSigner(lease) && lease.metadata.namespace === namespace)
    .filter((lease) => now - writtenAtMs(lease) / 1000 <= 2 * (lease.spec?.leaseDurationSeconds ?? 10))
    .map(({ spec }) => spec?.holderIdentity ?? '(no name)')
    .sort();
}
