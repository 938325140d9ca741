import { inFull } from './authority/problem.ts';
import type { Config } from './config/config.ts';
import type { Guard } from './issuance/guard.ts';
import type { ServerClock } from './kube/clock.ts';
import type { Informer } from './kube/informer.ts';
import type { Permissions } from './kube/permissions.ts';
import type { Health } from './observe/health.ts';
import { explain } from './observe/reasons.ts';
import type { Signer } from './signers/create-signer.ts';
import type { SignerProfile } from './signers/profile.ts';

/** What a replica needs before it can answer requests; each has its line in /readyz?verbose. */
const replicaChecks = [
  'pod-certificate-api',
  'permissions',
  'admission-policy',
  'registrations',
  'caches',
  'clock',
] as const;

/** What each signer needs besides. Its lines begin with its name, such as `spiffe/pool`. */
const signerChecks = ['pool', 'trust-bundle'] as const;

/** The names of all checks of a replica with these signers. */
export function checksOf(profiles: readonly Pick<SignerProfile, 'name'>[]): readonly string[] {
  return [
    ...replicaChecks,
    ...profiles.flatMap(({ name }) => signerChecks.map((check) => `${name}/${check}`)),
  ];
}

export interface ReadinessNeeds {
  readonly health: Health;
  /** It has work to do in clusters, too, that serve no PodCertificateRequests. */
  readonly hasTokenEndpoint: boolean;
  readonly guard: Pick<Guard, 'problem' | 'reason'>;
  readonly permissions: Pick<Permissions, 'problem'>;
  /** What must be known before requests are answered. */
  readonly informers: readonly Pick<Informer<unknown>, 'spec' | 'store'>[];
  readonly signers: readonly Pick<Signer, 'profile' | 'requests' | 'pool' | 'visibility' | 'facts'>[];
  /** What a pod gets that no registration matches. */
  readonly defaultIdentity: Config['defaultIdentity'];
  readonly clock: ServerClock;
}

interface Verdict {
  readonly ok: boolean;
  readonly reason: string;
}

const unless = (problem: string | undefined, fine: string): Verdict => ({
  ok: problem === undefined,
  reason: problem ?? fine,
});

/** Looks at everything that readiness depends on, and sets the checks. Cheap: no I/O. */
export function assessReadiness(needs: ReadinessNeeds): void {
  const { health, permissions, guard, clock } = needs;
  const problem = clock.problem();
  const isClockKnown = clock.skewMs() !== undefined;
  const skew = problem !== undefined && isClockKnown ? explain('ClockSkew', problem) : problem;
  const ofReplica: Record<(typeof replicaChecks)[number], Verdict> = {
    'pod-certificate-api': requestsServed(needs),
    permissions: unless(permissions.problem(), 'none is missing'),
    'admission-policy': unless(guard.reason(), guardedReason(guard.problem())),
    registrations: registrationsServed(needs),
    caches: unless(stillFilling(needs), 'filled'),
    clock: unless(skew, 'within the bounds of the API server'),
  };
  for (const [check, { ok, reason }] of Object.entries(ofReplica)) health.set(check, ok, reason);
  for (const signer of needs.signers) {
    const pool = signer.pool.problem();
    const ofSigner: Record<(typeof signerChecks)[number], Verdict> = {
      pool: unless(pool && inFull(pool), 'an authority is active'),
      'trust-bundle': rootsVisible(signer),
    };
    for (const [check, { ok, reason }] of Object.entries(ofSigner)) {
      health.set(`${signer.profile.name}/${check}`, ok, reason);
    }
  }
}

function stillFilling({ informers }: ReadinessNeeds): string | undefined {
  const filling = informers.filter(({ store }) => !store.isSynced()).map(({ spec }) => spec.resource.name);
  return filling.length === 0 ? undefined : `filling: ${[...new Set(filling)].join(', ')}`;
}

function guardedReason(problem: string | undefined): string {
  if (problem === undefined) return 'only nodes create requests';
  return `requestAdmission is external, so requests are answered although ${problem}`;
}

function rootsVisible(signer: Pick<Signer, 'pool' | 'visibility'>): Verdict {
  const visibility = signer.visibility();
  const current = signer.pool.current();
  // Where nothing is active, nothing is signed: the check `pool` says so.
  const roots = current && (current.active ? [current.active.root] : current.roots);
  if (roots?.every(visibility.isVisible)) return { ok: true, reason: visibility.whenVisible };
  return { ok: false, reason: visibility.problem() ?? `${visibility.place} does not show the root yet` };
}

/** Without registrations pods have the names of their ServiceAccounts, unless names come from registrations alone. */
function registrationsServed({ signers, defaultIdentity }: ReadinessNeeds): Verdict {
  const missing = signers
    .flatMap(({ facts }) => facts)
    .filter(
      ({ spec: { resource }, isMissing }) => resource.hasOurStatus && !resource.isCreated && isMissing(),
    )
    .map(({ spec }) => spec.resource.name);
  if (missing.length === 0) return { ok: true, reason: 'the API server serves the registrations' };
  const lack = `the API server does not serve ${missing.join(' and ')}: apply manifests/crds. Until then `;
  return defaultIdentity === 'none'
    ? { ok: false, reason: `${lack}no pod is registered, and with defaultIdentity none no pod gets a name` }
    : { ok: true, reason: `${lack}pods have the names of their ServiceAccounts` };
}

/** All signers ask for the same resource. */
function requestsServed({ signers, hasTokenEndpoint }: ReadinessNeeds): Verdict {
  const versions = signers[0]?.requests.versions();
  if (!versions) {
    return { ok: false, reason: 'not known yet: the API server has not been asked, or does not answer' };
  }
  const [version] = versions;
  if (version) {
    return { ok: true, reason: `PodCertificateRequests are served as certificates.k8s.io/${version}` };
  }
  if (hasTokenEndpoint) {
    const reason = 'the API server serves no PodCertificateRequests; the token endpoint alone gives SVIDs';
    return { ok: true, reason };
  }
  return {
    ok: false,
    reason:
      'the API server serves no PodCertificateRequests: Kubernetes 1.37 does, 1.35 and 1.36 need the feature gate ' +
      'PodCertificateRequest and the runtime-config of certificates.k8s.io/v1beta1',
  };
}
