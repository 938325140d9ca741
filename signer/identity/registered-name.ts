import { parseSpiffeId } from '../../spiffe/id.ts';
import type { Result } from '../../spiffe/pki/result.ts';
import { cannot } from '../observe/reasons.ts';
import { dnsNameProblem, idProblem, type NameContext, type RegistrationPolicy } from './guard-rails.ts';
import type { Identity } from './identify.ts';
import { nameOfRegistration, type Registration } from './registration.ts';
import type { NamedPod } from './resolve.ts';
import { renderTemplate, type TemplateValues } from './template.ts';

/** What names depend on besides registration and pod. */
export interface NamingPolicy {
  readonly trustDomain: string;
  readonly clusterName: string | undefined;
  readonly policy: RegistrationPolicy;
  /** The DNS names of the Services that select a pod, for autoPopulateDNSNames. */
  readonly serviceNames: (pod: NamedPod) => Result<readonly string[]>;
}

/** What a registration gives to a pod that it matches, or why it gives nothing. Pure. */
export function registeredName(registration: Registration, pod: NamedPod, needs: NamingPolicy): Identity {
  const name = nameOfRegistration(registration);
  const invalid = (detail: string) => cannot('IdentityInvalid', `${registration.kind} ${name}: ${detail}`);
  const { grant } = registration;
  if (!grant.ok) return invalid(grant.message);
  const values = valuesOf(pod, needs);
  const context: NameContext = {
    trustDomain: needs.trustDomain,
    namespace: pod.namespace,
    isNamespaced: registration.namespace !== undefined,
    policy: needs.policy,
  };
  const uri = renderTemplate(grant.value.spiffeId, values, '/');
  if (!uri.ok) return invalid(uri.reason);
  const id = parseSpiffeId(uri.value);
  if (!id.ok) return invalid(`${JSON.stringify(uri.value.slice(0, 200))} is not a SPIFFE ID: ${id.reason}`);
  const problem = idProblem(id.value, grant.value.spiffeId, context);
  if (problem !== undefined) return invalid(problem);

  const dnsNames = new Set<string>();
  for (const template of grant.value.dnsNames) {
    const dnsName = renderTemplate(template, values, '.');
    if (!dnsName.ok) return invalid(dnsName.reason);
    const refused = dnsNameProblem(dnsName.value, context);
    if (refused !== undefined) return invalid(refused);
    dnsNames.add(dnsName.value);
  }
  if (grant.value.autoPopulateDNSNames) {
    const ofServices = needs.serviceNames(pod);
    if (!ofServices.ok) return invalid(ofServices.reason);
    for (const dnsName of ofServices.value) dnsNames.add(dnsName);
  }
  const subject = { uris: [id.value.uri], dnsNames: [...dnsNames], display: id.value.uri };
  return { ok: true, subject, terms: { registration: name, ...grant.value.terms } };
}

function valuesOf({ namespace, name, facts }: NamedPod, needs: NamingPolicy): TemplateValues {
  return {
    '.TrustDomain': needs.trustDomain,
    '.ClusterName': needs.clusterName,
    '.PodMeta.Name': name,
    '.PodMeta.Namespace': namespace,
    '.PodMeta.UID': facts.uid,
    '.PodSpec.ServiceAccountName': facts.serviceAccountName,
    '.PodSpec.NodeName': facts.nodeName,
    labels: facts.labels,
    annotations: facts.annotations,
  };
}
