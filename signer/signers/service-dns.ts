import { svidProfile } from '../../spiffe/svid-profile.ts';
import { chosenServices, servicesAnnotation } from '../identity/chosen-services.ts';
import { serviceNames } from '../identity/service-names.ts';
import { followServices } from './follow-services.ts';
import { createLackingNames } from './lacking-names.ts';
import type { SignerProfile } from './profile.ts';

const signerName = 'kubespiffe.io/service-dns';

/** Server certificates with the DNS names of the Services that select the pod, under CAs of no trust domain. */
export const serviceDns: SignerProfile = {
  signerName,
  name: 'service-dns',
  hasTrustDomain: false,
  hasTokenEndpoint: false,
  role: 'kubespiffe-service-dns',
  readsSources: true,
  annotations: {
    [servicesAnnotation](value) {
      const chosen = chosenServices(value);
      return chosen.ok ? undefined : chosen.reason;
    },
  },
  identifier({ maxLifetimeSeconds, refreshFraction }, needs) {
    const { config, pods, run } = needs;
    const { informer, services } = followServices(needs);
    run((shared) =>
      createLackingNames({
        ...shared,
        signerName,
        pods: pods.store,
        services: informer.store,
        index: services,
        domains: config.serviceDomains,
        refreshSeconds: maxLifetimeSeconds * refreshFraction,
      }),
    );
    return ({ namespace }, facts, { [servicesAnnotation]: choice }) => {
      const chosen = choice === undefined ? undefined : chosenServices(choice);
      if (chosen?.ok === false) return { ok: false, reason: 'ServiceNotMatching', detail: chosen.reason };
      const named = serviceNames({ namespace, facts }, services, config.serviceDomains, chosen?.value);
      if (!named.ok) return named;
      const { dnsNames } = named;
      const display = `${dnsNames[0]} (${dnsNames.length} DNS names)`;
      return { ok: true, subject: { uris: [], dnsNames, display } };
    };
  },
  certificate: () => ({ ...svidProfile, extKeyUsage: ['serverAuth'] }),
};
