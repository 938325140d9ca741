import type { FederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { heldBundle } from '../../signer/federation/foreign-bundle.ts';
import { conditionIn } from '../../signer/kube/conditions.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { type BundleKey, bundleKeys } from './bundle-keys.ts';

/** A condition, as the signer wrote it. */
export interface FederationCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** A FederatedTrustDomain and what the signer made of it, for programs. Null means not known. */
export interface FederationReport {
  readonly name: string;
  readonly trustDomain: string;
  /** Where its bundle comes from. */
  readonly source: string;
  readonly endpointSPIFFEID: string | null;
  readonly paused: boolean;
  readonly refreshSeconds: { readonly min: number; readonly max: number };
  readonly conditions: readonly FederationCondition[];
  /** RFC 3339, as the times below. */
  readonly lastSuccess: string | null;
  readonly lastAttempt: string | null;
  readonly nextAttempt: string | null;
  readonly clusterTrustBundle: string | null;
  /** The bundle that was taken last, without roots that have expired. */
  readonly bundle: { readonly sequence: number | null; readonly keys: readonly BundleKey[] } | null;
}

const types = ['Ready', 'Stale', 'BundleInvalid', 'Unreachable'];
const textOf = (value: unknown) => (typeof value === 'string' ? value : null);

/** Reads the status defensively: another version of the signer or another writer may have set it. Pure. */
export function reportOn(resource: FederatedTrustDomain, now: Seconds): FederationReport {
  const { name, trustDomain, origin, isPaused, refresh, status } = resource;
  const held = heldBundle(resource, now);
  return {
    ...{ name, trustDomain },
    source: sourceOf(origin),
    endpointSPIFFEID: origin.ok && origin.value.kind === 'https_spiffe' ? origin.value.endpointId.uri : null,
    paused: isPaused,
    refreshSeconds: { min: refresh.minSeconds, max: refresh.maxSeconds },
    conditions: types.flatMap((type) => {
      const found = conditionIn(status, type);
      if (!found) return [];
      const text = (member: 'status' | 'reason' | 'message') => textOf(found[member]) ?? '';
      return { type, status: text('status'), reason: text('reason'), message: text('message') };
    }),
    lastSuccess: textOf(status.lastSuccessTime),
    lastAttempt: textOf(status.lastAttemptTime),
    nextAttempt: textOf(status.nextAttemptTime),
    clusterTrustBundle: textOf(status.clusterTrustBundle),
    bundle: held ? { sequence: held.sequence ?? null, keys: bundleKeys(held) } : null,
  };
}

function sourceOf(origin: FederatedTrustDomain['origin']): string {
  if (!origin.ok) return `(not valid: ${origin.reason})`;
  const { value } = origin;
  if (value.kind === 'document') return 'spec.bundle';
  if (value.kind === 'clusterTrustBundle') return `ClusterTrustBundle ${value.name}`;
  return `${value.url.href} (${value.kind})`;
}

/** Whether a bundle is in use that was confirmed recently. */
export function isReady({ conditions }: FederationReport): boolean {
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}
