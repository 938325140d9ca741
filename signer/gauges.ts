import type { Health } from './observe/health.ts';
import type { Shared } from './signers/shared.ts';

/** Sets the metrics that show a state rather than count events. */
export function refreshGauges(
  { metrics, config, clock, guard, permissions }: Shared,
  health: Health,
  parts: readonly { refreshMetrics(): void }[],
): void {
  metrics.clockSkew.set((clock.skewMs() ?? 0) / 1000);
  metrics.ready.set(health.ready().ok ? 1 : 0);
  metrics.admissionPolicyInForce.set(
    { request_admission: config.requestAdmission },
    guard.problem() === undefined ? 1 : 0,
  );
  metrics.missingPermissions.set(permissions.missing()?.length ?? 0);
  metrics.authorityExpiry.reset();
  metrics.rotationStep.reset();
  for (const each of parts) each.refreshMetrics();
}
