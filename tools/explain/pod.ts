import { chosenServices, servicesAnnotation } from '../../signer/identity/chosen-services.ts';
import { noAnnotations } from '../../signer/identity/identify.ts';
import { registrationAnnotation } from '../../signer/identity/identify-registered.ts';
import type { Registration } from '../../signer/identity/registration.ts';
import { allNames, namesOf } from '../../signer/identity/subject.ts';
import { type Decision, decideOnPod, decideOnRequest } from '../../signer/issuance/decide.ts';
import type { Labels } from '../../signer/kube/label-selector.ts';
import type { ServiceFacts } from '../../signer/kube/services.ts';
import type { Store } from '../../signer/kube/store.ts';
import { explain, outcomes } from '../../signer/observe/reasons.ts';
import { placeOf } from '../cluster/identities.ts';
import { type CertificateSource, type KnownPod, keyOf, requestOf } from '../cluster/pods.ts';
import type { KnownSigner, World } from '../cluster/world.ts';
import { span } from '../output.ts';
import { type LookedRegistrations, registrationSteps } from './registrations.ts';
import { serviceSteps } from './services.ts';
import { type Step, step, type Verdict } from './steps.ts';

/** What one signer does for one pod, and why. */
export interface SignerExplanation {
  readonly signer: string;
  /** The volume of the pod that asks; null where the pod can only ask the token endpoint. */
  readonly volume: string | null;
  readonly steps: readonly Step[];
  readonly verdict: Verdict;
  readonly spiffeId: string | null;
  readonly dnsNames: readonly string[];
  /** The registration that gives the name; null for none. */
  readonly registration: string | null;
  /** Maximum lifetime of the certificate; null if none would be issued. */
  readonly lifetimeSeconds: number | null;
  /** End of the certificate that the pod has while it gets no name, if a request shows it; RFC 3339. */
  readonly keepsUntil: string | null;
}

export function verdictOf(decision: Decision): Verdict {
  const reason = decision.kind === 'issue' ? 'Issued' : decision.reason;
  const detail = decision.kind === 'issue' ? decision.subject.display : decision.detail;
  const message = decision.kind === 'issue' ? `a certificate for ${detail}` : explain(reason, detail);
  return { verdict: decision.kind, reason, message, owner: outcomes[reason].owner };
}

/**
 * Every decision about a pod, with the facts that it rests on. Pure.
 *
 * @param key `namespace/name` @param signerName only this signer; undefined for all that the pod can ask.
 */
export function explainPod(
  world: World,
  key: string,
  facts: KnownPod,
  signerName?: string,
): SignerExplanation[] {
  return world.signers.flatMap((signer) => {
    const { profile } = signer;
    if (signerName !== undefined && profile.signerName !== signerName) return [];
    const sources = facts.sources.filter((source) => source.signerName === profile.signerName);
    const isAsked = sources.length > 0 || (!profile.hasTokenEndpoint && signerName === undefined);
    const asked = isAsked ? sources : [undefined];
    return asked.map((source) => explainFor(world, signer, key, facts, source));
  });
}

function explainFor(
  world: World,
  signer: KnownSigner,
  key: string,
  facts: KnownPod,
  source: CertificateSource | undefined,
): SignerExplanation {
  const { profile, settings } = signer;
  const place = placeOf(key);
  const asked = source ?? { volume: '', signerName: profile.signerName, keyType: 'ECDSAP256' };
  const request = requestOf(place, facts, asked, profile);
  const usable = decideOnRequest(request, keyOf(asked));
  const decision =
    usable.kind === 'supported'
      ? decideOnPod(request, usable, { kind: 'found', pod: facts }, signer.identify)
      : usable;
  const named = decision.kind === 'issue' ? decision : undefined;
  const longest = [
    { seconds: settings.maxLifetimeSeconds, from: `setting maxLifetime of ${profile.name}` },
    { seconds: request.maxExpirationSeconds, from: 'maxExpirationSeconds of the volume' },
    { seconds: named?.terms?.maxLifetimeSeconds ?? Infinity, from: 'ttl of the registration' },
  ].reduce((least, each) => (each.seconds < least.seconds ? each : least));
  const { spiffeId = null, dnsNames = [] } = named ? namesOf(named.subject) : {};
  const { steps: facing, deciding } = factsOf(world, signer, key, facts, request.annotations);
  const from = named?.terms ? `registration ${named.terms.registration}` : nameSource(signer);
  const steps: Step[] = [
    sourceStep(source, profile.hasTokenEndpoint),
    ...(usable.kind === 'supported' ? [] : [refusalStep(usable)]),
    podStep(key, facts),
    ...facing,
    ...allNames(named?.subject).map((name) => step(true, 'name', name, from)),
  ];
  if (named && source) {
    steps.push(step(true, 'lifetime', `at most ${span(longest.seconds)}`, longest.from));
  }
  return {
    signer: profile.signerName,
    volume: source?.volume ?? null,
    steps: withFailure(steps, decision),
    verdict: ownedBy(deciding, verdictOf(decision)),
    ...{ spiffeId, dnsNames },
    registration: named?.terms?.registration ?? null,
    lifetimeSeconds: named && source ? longest.seconds : null,
    keepsUntil: null,
  };
}

/** Registrations of a namespace belong to its team, and those of the cluster to the administrator. */
function ownedBy(deciding: readonly Registration[], verdict: Verdict): Verdict {
  const isOfCluster = deciding.length > 0 && deciding.every(({ namespace }) => namespace === undefined);
  const isTheirs = isOfCluster && verdict.owner === 'owner of the registration';
  return isTheirs ? { ...verdict, owner: 'cluster administrator' } : verdict;
}

/** Facts may all be right, and still give no name, such as a template for a label that the pod does not have. */
function withFailure(steps: readonly Step[], decision: Decision): readonly Step[] {
  if (decision.kind === 'issue' || steps.some(({ ok }) => ok === false)) return steps;
  return [...steps, step(false, 'name', `none: ${decision.detail}`)];
}

/** Where a name comes from that no registration gives. */
function nameSource({ followed }: KnownSigner): string {
  const follows = (name: string) => followed.some(({ spec }) => spec.resource.name === name);
  if (follows('workloadregistrations')) return 'the default identity';
  return follows('services') ? 'the Services above' : 'the pod itself';
}

function sourceStep(source: CertificateSource | undefined, hasTokenEndpoint: boolean): Step {
  const from = 'spec.volumes of the pod';
  if (!source) {
    const fact = hasTokenEndpoint
      ? 'none asks this signer; only the token endpoint can give this identity to the pod'
      : 'none asks this signer; this is what one would get';
    return step(null, 'volume', fact, from);
  }
  const { volume, keyType, maxExpirationSeconds, userAnnotations = {} } = source;
  const wishes = [
    `key ${keyType}`,
    ...(maxExpirationSeconds === undefined ? [] : [`at most ${span(maxExpirationSeconds)}`]),
    ...Object.entries(userAnnotations).map(([key, value]) => `${key}=${value}`),
  ];
  return step(true, 'volume', `${volume}: ${wishes.join(', ')}`, from);
}

function refusalStep(decision: Decision): Step {
  const { reason } = verdictOf(decision);
  return step(false, 'request', `what the volume asks for is refused: ${reason}`);
}

function podStep(
  key: string,
  { nodeName, finished, deletesAt, serviceAccountName, labels = {} }: KnownPod,
): Step {
  const shown = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const state = finished ? `has finished (${finished})` : deletesAt === undefined ? 'runs' : 'terminates';
  const node = nodeName === '' ? 'is not scheduled yet' : `${state} on ${nodeName}`;
  const fact = `${node}, ServiceAccount ${serviceAccountName}, labels ${shown.join(', ') || '(none)'}`;
  return step(finished === undefined && nodeName !== '', 'pod', fact, `Pod ${key}`);
}

/** What the decision depends on besides the pod: registrations and Services. */
function factsOf(
  { settings }: World,
  signer: KnownSigner,
  key: string,
  facts: KnownPod,
  annotations: Readonly<Record<string, string>> = noAnnotations,
): LookedRegistrations {
  const pod = { ...placeOf(key), facts };
  const store = (name: string) =>
    signer.followed.find(({ spec }) => spec.resource.name === name)?.store as Store<never> | undefined;
  const workload: Store<Registration> | undefined = store('workloadregistrations');
  const cluster: Store<Registration> | undefined = store('clusterworkloadregistrations');
  const namespaces: Store<Labels> | undefined = store('namespaces');
  if (workload && cluster && namespaces) {
    const wanted = annotations[registrationAnnotation];
    return registrationSteps(pod, { workload, cluster, namespaces }, wanted, settings);
  }
  const services: Store<ServiceFacts> | undefined = store('services');
  if (services) {
    const chosen = chosenServices(annotations[servicesAnnotation] ?? '');
    return { steps: serviceSteps(pod, services, chosen.ok ? chosen.value : undefined), deciding: [] };
  }
  return { steps: [], deciding: [] };
}
