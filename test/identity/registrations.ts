import { type RegistrationPolicy, readPolicy } from '../../signer/identity/guard-rails.ts';
import type { Identity } from '../../signer/identity/identify.ts';
import { registeredName } from '../../signer/identity/registered-name.ts';
import { type Registration, readRegistration } from '../../signer/identity/registration.ts';
import type { RegistrationKind } from '../../signer/identity/registration-fields.ts';
import type { NamedPod } from '../../signer/identity/resolve.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { aPod } from '../issuance/examples.ts';

export const ownTemplate =
  'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/{{ index .PodMeta.Labels "app" }}';

/** A WorkloadRegistration of the namespace shop as it was read, with what a test wants in its spec. */
export function aRegistration(spec: object = {}, name = 'web', namespace = 'shop'): Registration {
  return read('WorkloadRegistration', { metadata: { name, namespace, uid: name, generation: 1 } }, spec);
}

/** The same for a ClusterWorkloadRegistration, for all pods. */
export function aClusterRegistration(spec: object = {}, name = 'all'): Registration {
  const metadata = { name, uid: name, generation: 1 };
  return read('ClusterWorkloadRegistration', { metadata }, { matchAllPods: true, ...spec });
}

/** A registration with exactly this spec. */
export function readAs(kind: RegistrationKind, spec: object): Registration {
  const namespace = kind === 'WorkloadRegistration' ? { namespace: 'shop' } : {};
  const wire = { metadata: { name: 'web', uid: 'web', generation: 1, ...namespace }, spec };
  return readRegistration(kind, wire, templateContext);
}

function read(kind: RegistrationKind, wire: object, spec: object): Registration {
  return readRegistration(
    kind,
    { ...wire, spec: { spiffeIDTemplate: ownTemplate, ...spec } },
    templateContext,
  );
}

export const templateContext = { clusterName: 'eu', podAnnotations: ['example.org/team'] };

/** The pod shop/web-0 with the label app=web. */
export function aNamedPod(facts: Partial<PodFacts> = {}, namespace = 'shop'): NamedPod {
  return {
    namespace,
    name: 'web-0',
    facts: aPod({ labels: { app: 'web' }, ...facts }),
    namespaceLabels: { 'kubernetes.io/metadata.name': namespace, tier: 'front' },
  };
}

/** A ClusterRegistrationPolicy with these grants. */
export const aPolicy = (...grants: object[]): RegistrationPolicy => readPolicy({ spec: { grants } });

/** What a registration gives to a pod by a signer of this trust domain. */
export function nameFor(
  registration: Registration,
  pod = aNamedPod(),
  policy = aPolicy(),
  trustDomain = 'example.org',
): Identity {
  return registeredName(registration, pod, {
    trustDomain,
    clusterName: 'eu',
    policy,
    serviceNames: () => ({ ok: true, value: ['web.shop.svc'] }),
  });
}
