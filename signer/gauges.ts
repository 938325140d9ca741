import type { PoolView } from './authority/view.ts';
import type { Controller } from './issuance/controller.ts';
import type { Guard } from './issuance/guard.ts';
import type { ServerClock } from './kube/clock.ts';
import type { Permissions } from './kube/permissions.ts';
import type { Health } from './observe/health.ts';
import type { Metrics } from './observe/metrics.ts';
import type { ConfigMapPublisher } from './trust/configmap-publisher.ts';

/** Sets the metrics that tell a state rather than count events. */
export function refreshGauges(
  metrics: Metrics,
  parts: {
    readonly controller: Pick<Controller, 'pending'>;
    readonly clock: Pick<ServerClock, 'skewMs'>;
    readonly guard: Pick<Guard, 'problem'>;
    readonly health: Pick<Health, 'ready'>;
    readonly permissions: Pick<Permissions, 'missing'>;
    readonly pool: Pick<PoolView, 'current' | 'confirmedAtMonotonic'>;
    readonly configMaps: Pick<ConfigMapPublisher, 'states'> | undefined;
    readonly monotonic: () => number;
  },
): void {
  const pending = parts.controller.pending();
  metrics.pendingRequests.set(pending.count);
  metrics.oldestPending.set(pending.oldestMs / 1000);
  metrics.queueDepth.set(pending.queued);
  metrics.clockSkew.set((parts.clock.skewMs() ?? 0) / 1000);
  metrics.ready.set(parts.health.ready().ok ? 1 : 0);
  metrics.admissionPolicyInForce.set(parts.guard.problem() === undefined ? 1 : 0);
  metrics.missingPermissions.set(parts.permissions.missing()?.length ?? 0);
  metrics.poolConfirmedAge.set((parts.monotonic() - parts.pool.confirmedAtMonotonic()) / 1000);
  for (const [state, count] of Object.entries(parts.configMaps?.states() ?? {})) {
    metrics.rootsConfigMaps.set({ state }, count);
  }
  metrics.authorityExpiry.reset();
  for (const { id, state, signingAuthority, root } of parts.pool.current()?.authorities ?? []) {
    metrics.authorityExpiry.set({ authority: id, state }, signingAuthority?.notAfter ?? root.notAfter);
  }
}
