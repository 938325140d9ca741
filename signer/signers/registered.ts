import type { Identify } from '../identity/identify.ts';
import { createIdentify } from '../identity/identify-registered.ts';
import type { NamingPolicy } from '../identity/registered-name.ts';
import { outcomeOfPod } from '../identity/registration-outcome.ts';
import { registrationSpecs } from '../identity/registration-specs.ts';
import { createRegistrations } from '../identity/registrations.ts';
import { otherClass } from '../identity/resolve.ts';
import { serviceNames } from '../identity/service-names.ts';
import type { Services } from '../identity/services.ts';
import { followServices } from './follow-services.ts';
import type { IdentifierNeeds } from './profile.ts';
import { createRegistrationPolicy } from './registration-policy.ts';
import { createRegistrationStatus } from './registration-status.ts';

/** Names pods by the registrations of the cluster, and follows everything that such a name depends on. */
export function identifyByRegistrations(trustDomain: string, needs: IdentifierNeeds): Identify {
  const { follow, run, config, pods } = needs;
  const specs = registrationSpecs(config);
  const namespaces = follow(specs.namespaces, (labels, key) => registrations.podsOfNamespace(key, labels));
  const workload = follow(specs.workload, (registration, key) => registrations.podsOf(registration, key));
  const cluster = follow(specs.cluster, (registration, key) => registrations.podsOf(registration, key));
  const policies = follow(specs.policies, (policy) => registrations.podsOfPolicy(policy));
  const { informer, services } = followServices(needs);
  const registrations = createRegistrations(
    {
      workload: workload.store,
      cluster: cluster.store,
      policies: policies.store,
      namespaces: namespaces.store,
      pods: pods.store,
    },
    config.registrationClass,
  );
  const naming = {
    trustDomain,
    clusterName: config.clusterName,
    serviceNames: namesOfServices(services, config.serviceDomains),
  };
  const followed = [workload, cluster];
  run((shared, facts) =>
    createRegistrationStatus({
      ...{ shared, facts, followed },
      known: Promise.all([pods, namespaces, policies, informer, ...followed].map(({ synced }) => synced)),
      outcomeOf: outcomeOfPod(registrations, pods.store, naming),
      isOurs: (registration) => otherClass(registration, config.registrationClass) === undefined,
    }),
  );
  run((shared) => createRegistrationPolicy(policies, shared));
  return createIdentify(registrations, {
    ...naming,
    defaultIdentity: config.defaultIdentity,
    unserved: () =>
      workload.isMissing() && cluster.isMissing()
        ? 'the API server serves no registrations; apply manifests/crds'
        : undefined,
  });
}

/** For autoPopulateDNSNames: a pod without Services has its other names. */
function namesOfServices(services: Services, domains: readonly string[]): NamingPolicy['serviceNames'] {
  return (pod) => {
    const names = serviceNames(pod, services, domains);
    if (names.ok) return { ok: true, value: names.dnsNames };
    return names.reason === 'NoService' ? { ok: true, value: [] } : { ok: false, reason: names.detail };
  };
}
