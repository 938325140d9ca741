import path from 'node:path';
import { admissionPolicyName } from '../../signer/issuance/admission-policy.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';

const manifest = path.join(import.meta.dirname, '../../manifests/base/admission-policy.yaml');
const group = '/apis/admissionregistration.k8s.io/v1';
export const policyPath = `${group}/validatingadmissionpolicies/${admissionPolicyName}`;
export const bindingPath = `${group}/validatingadmissionpolicybindings/${admissionPolicyName}`;

/** When requests of each cluster begin to count, in epoch milliseconds. */
const countsFrom = new WeakMap<ControlPlane, number>();

/** Applies the admission policy that we ship, whether it is there or not. */
export async function applyAdmissionPolicy(controlPlane: ControlPlane): Promise<void> {
  await controlPlane.kubectl(['apply', '-f', manifest]);
  const created = await Promise.all(
    [policyPath, bindingPath].map(async (object) => {
      const { body } = await controlPlane.request('GET', object);
      return Date.parse((body as { metadata: { creationTimestamp: string } }).metadata.creationTimestamp);
    }),
  );
  // The signer answers no request that was created in the first three seconds of a policy.
  countsFrom.set(controlPlane, Math.max(...created) + 3_000);
}

/** Waits until requests count that are created now. Resolves at once where no policy was applied. */
export async function policyInForce(controlPlane: ControlPlane): Promise<void> {
  const from = countsFrom.get(controlPlane) ?? 0;
  await waitFor('the admission policy to be in force', () => Date.now() >= from);
}
