import type { PoolView } from './authority/view.ts';
import { fastestSkewMs, type ServerClock, slowestSkewMs } from './kube/clock.ts';
import type { CertificatesVersion } from './kube/types.ts';
import type { Health } from './observe/health.ts';
import type { Publisher } from './trust/publisher.ts';

/** What the signer needs before it can answer requests; each has its line in /readyz?verbose. */
export const readinessChecks = ['pod-certificate-api', 'caches', 'pool', 'trust-bundle', 'clock'] as const;

export interface ReadinessNeeds {
  readonly health: Health;
  /** In which versions PodCertificateRequests are served; undefined before the first look. */
  readonly servedVersions: readonly CertificatesVersion[] | undefined;
  /** The names of the caches that are not filled yet. */
  readonly filling: () => readonly string[];
  readonly pool: PoolView;
  readonly publisher: Publisher;
  readonly bundleName: string;
  readonly clock: ServerClock;
}

/** Looks at everything that readiness depends on, and sets the checks. Cheap: no I/O. */
export function assessReadiness(needs: ReadinessNeeds): void {
  const { health, pool } = needs;
  const isServed = (needs.servedVersions ?? []).length > 0;
  health.set('pod-certificate-api', isServed, servedReason(needs.servedVersions));

  const filling = needs.filling();
  health.set(
    'caches',
    filling.length === 0,
    filling.length === 0 ? 'filled' : `filling: ${filling.join(', ')}`,
  );

  const problem = pool.problem();
  health.set('pool', problem === undefined, problem?.message ?? 'an authority is active');

  const root = pool.current()?.active?.root;
  const published = root !== undefined && needs.publisher.isPublished(root);
  health.set(
    'trust-bundle',
    published,
    published
      ? `ClusterTrustBundle ${needs.bundleName} shows the root of the active authority`
      : (needs.publisher.problem() ?? `ClusterTrustBundle ${needs.bundleName} does not show the root yet`),
  );

  const fault = clockFault(needs.clock);
  health.set('clock', fault === undefined, fault ?? 'within the bounds of the API server');
}

function servedReason(versions: ReadinessNeeds['servedVersions']): string {
  if (!versions) return 'not known yet: the API server has not been asked, or does not answer';
  const [version] = versions;
  if (version) return `PodCertificateRequests are served as certificates.k8s.io/${version}`;
  return (
    'the API server serves no PodCertificateRequests: Kubernetes 1.37 does, 1.35 and 1.36 need the feature gate ' +
    'PodCertificateRequest and the runtime-config of certificates.k8s.io/v1beta1'
  );
}

/** Why nothing may be signed by our clock, or undefined. The API server's clock is the reference. */
export function clockFault(clock: ServerClock): string | undefined {
  const skewMs = clock.skewMs();
  if (skewMs === undefined) return 'the clock of the API server is not known yet';
  if (clock.isWithinBounds()) return undefined;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const bounds = `at most ${-slowestSkewMs / 1000} s slow or ${fastestSkewMs / 1000} s fast is allowed`;
  return `the clock of the signer is ${seconds} s ${skewMs > 0 ? 'fast' : 'slow'}; ${bounds}`;
}
