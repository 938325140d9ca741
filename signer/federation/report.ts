import type { EventRecorder } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import { patchStatus } from '../kube/patch-status.ts';
import type { Transport } from '../kube/transport.ts';
import { explainFederation } from '../observe/federation-outcomes.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { FederatedTrustDomain } from './federated-trust-domain.ts';
import type { AttemptOutcome, FederationStatus } from './federation-status.ts';

export interface ReportNeeds {
  readonly events: Pick<EventRecorder, 'record'>;
  readonly metrics: Pick<Metrics, 'federationAttempts'>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

export interface WriteNeeds {
  readonly transport: Pick<Transport, 'request'>;
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec'>;
}

/** Reports the outcome of an attempt: in the metric, and if it is news in the log and in an Event on the resource. */
export function reportAttempt(
  { events, metrics, log }: ReportNeeds,
  { name, uid, trustDomain }: FederatedTrustDomain,
  outcome: AttemptOutcome,
): void {
  const reason = outcome.kind === 'taken' ? 'BundleTaken' : outcome.reason;
  if (outcome.kind !== 'idle') metrics.federationAttempts.inc({ peer: trustDomain, reason });
  if (outcome.kind === 'confirmed' || (outcome.kind === 'taken' && !outcome.isChanged)) return;
  const detail =
    outcome.kind === 'taken'
      ? `new. X.509 roots: ${outcome.bundle.roots.length}, JWT keys: ${outcome.bundle.jwtKeys.size}`
      : outcome.detail;
  const note = explainFederation(reason, detail);
  const isWell = outcome.kind === 'taken' || reason === 'Paused';
  log[isWell ? 'info' : 'warn']({ federatedTrustDomain: name, trustDomain, reason }, note);
  events.record({
    key: `${uid}/${reason}`,
    regarding: {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'FederatedTrustDomain',
      namespace: '',
      name,
      uid,
    },
    type: isWell ? 'Normal' : 'Warning',
    reason,
    action: 'Refresh',
    note,
  });
}

/** Writes a status. Throws what the transport throws, such as a conflict if the resource has changed. */
export async function writeStatus(
  { transport, resources }: WriteNeeds,
  { name, uid, resourceVersion }: FederatedTrustDomain,
  status: FederationStatus,
  signal: AbortSignal,
): Promise<void> {
  // With the resourceVersion, since a status must not be written to a spec that it was not made from.
  await patchStatus(transport, resources.spec.resource, { name, uid, resourceVersion }, status, signal);
}
