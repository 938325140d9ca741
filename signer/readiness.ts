import type { PoolView } from './authority/view.ts';
import type { Guard } from './issuance/guard.ts';
import { fastestSkewMs, type ServerClock, slowestSkewMs } from './kube/clock.ts';
import type { Informer } from './kube/informer.ts';
import type { Permissions } from './kube/permissions.ts';
import type { Health } from './observe/health.ts';
import type { ListenerName } from './token/endpoints.ts';
import type { RootVisibility } from './trust/root-visibility.ts';

/** What the signer needs before it can answer requests; each has its line in /readyz?verbose. */
export const readinessChecks = [
  'pod-certificate-api',
  'permissions',
  'admission-policy',
  'caches',
  'pool',
  'trust-bundle',
  'clock',
] as const;

/** What has a line only where that listener is configured, and, of `running`, once the replica ends. */
export const occasionalChecks = Object.keys({
  'token-endpoint': true,
  'bundle-web': true,
  'bundle-spiffe': true,
  running: true,
} satisfies Record<ListenerName | 'running', true>);

export interface ReadinessNeeds {
  readonly health: Health;
  /** The requests that are answered. */
  readonly requests: Pick<Informer<unknown>, 'versions' | 'isMissing'>;
  /** It has work to do in clusters, too, that serve no PodCertificateRequests. */
  readonly hasTokenEndpoint: boolean;
  readonly guard: Pick<Guard, 'problem' | 'obstacle'>;
  readonly permissions: Pick<Permissions, 'problem'>;
  /** What must be known before requests are answered. */
  readonly informers: readonly Pick<Informer<unknown>, 'resource' | 'store'>[];
  readonly pool: PoolView;
  readonly visibility: RootVisibility;
  readonly clock: ServerClock;
}

/** Looks at everything that readiness depends on, and sets the checks. Cheap: no I/O. */
export function assessReadiness(needs: ReadinessNeeds): void {
  const { health, pool, hasTokenEndpoint } = needs;
  const [version] = needs.requests.versions() ?? [];
  const isDispensable = hasTokenEndpoint && needs.requests.isMissing();
  health.set('pod-certificate-api', version !== undefined || isDispensable, servedReason(needs));

  const forbidden = needs.permissions.problem();
  health.set('permissions', forbidden === undefined, forbidden ?? 'none is missing');

  const unguarded = needs.guard.obstacle();
  health.set('admission-policy', unguarded === undefined, unguarded ?? guardedReason(needs));

  const filling = needs.informers.filter(({ store }) => !store.isSynced()).map(({ resource }) => resource);
  health.set(
    'caches',
    filling.length === 0,
    filling.length === 0 ? 'filled' : `filling: ${filling.join(', ')}`,
  );

  const problem = pool.problem();
  health.set('pool', problem === undefined, problem?.message ?? 'an authority is active');

  const bundle = bundleState(needs);
  health.set('trust-bundle', bundle.ok, bundle.reason);

  const fault = clockFault(needs.clock);
  health.set('clock', fault === undefined, fault ?? 'within the bounds of the API server');
}

function guardedReason({ guard }: Pick<ReadinessNeeds, 'guard'>): string {
  const problem = guard.problem();
  if (problem === undefined) return 'only nodes create requests';
  return `requestAdmission is external, so requests are answered although ${problem}`;
}

function bundleState(needs: Pick<ReadinessNeeds, 'visibility' | 'pool'>): { ok: boolean; reason: string } {
  const { visibility, pool } = needs;
  const current = pool.current();
  // Where nothing is active, nothing is signed: that is said by the check `pool`.
  const roots = current && (current.active ? [current.active.root] : current.roots);
  if (roots?.every(visibility.isVisible)) return { ok: true, reason: visibility.whenVisible };
  return { ok: false, reason: visibility.problem() ?? `${visibility.place} does not show the root yet` };
}

function servedReason({
  requests,
  hasTokenEndpoint,
}: Pick<ReadinessNeeds, 'requests' | 'hasTokenEndpoint'>): string {
  const versions = requests.versions();
  if (!versions) return 'not known yet: the API server has not been asked, or does not answer';
  const [version] = versions;
  if (version) return `PodCertificateRequests are served as certificates.k8s.io/${version}`;
  if (hasTokenEndpoint)
    return 'the API server serves no PodCertificateRequests; the token endpoint alone gives SVIDs';
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
