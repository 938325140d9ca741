import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import type { CertificateNames } from '../../spiffe/pki/subject-alt-name.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { PodIdentity } from '../cluster/identities.ts';

/** Who has a name. */
export interface WhoReport {
  readonly name: string;
  readonly holders: readonly Holder[];
}

/** A pod that gets the name from a signer, or has a certificate with it. */
export interface Holder {
  readonly namespace: string;
  readonly pod: string;
  readonly node: string;
  readonly signer: string;
  /** Whether the signer gives the name to the pod now. */
  readonly getsIt: boolean;
  /** `certificate`: by a volume. `token`: the pod can only ask the token endpoint. */
  readonly by: 'certificate' | 'token';
  /** The registration that gives it; null for the default identity. */
  readonly registration: string | null;
  /** The last one that a request shows; null where none is left. Requests are deleted some 15 min after they were made. */
  readonly certificate: HeldCertificate | null;
}

export interface HeldCertificate {
  readonly request: string;
  readonly serial: string;
  /** RFC 3339, as the others. */
  readonly notAfter: string;
  readonly refreshFrom: string | null;
  readonly authority: Authority;
}

/** The root that a certificate leads to, if a bundle of the cluster shows it. */
export interface Authority {
  /** Key identifier of what signed last below the root, lower-case hex. */
  readonly keyId: string | null;
  /** SHA-256 of the root, lower-case hex; null where it is in no bundle of the cluster. */
  readonly root: string | null;
}

/** A request that was answered with a certificate for the name. */
export interface Answer {
  readonly request: PodCertificateRequest;
  /** The leaf first. */
  readonly chain: readonly CertificateFacts[];
}

/** Whether a certificate or subject has a name. A wildcard stands for one label (RFC 9525 6.3). Pure. */
export function hasName({ uris, dnsNames }: CertificateNames, name: string): boolean {
  if (name.includes('://')) return uris.includes(name);
  const wildcard = `*${name.slice(name.indexOf('.'))}`;
  return dnsNames.some((each) => each === name || each === wildcard);
}

/**
 * Who has a name, by the decisions of the signers and by the certificates that requests show. Pure.
 *
 * @param identities of all pods. @param answers those with the name. @param roots that the bundles of the cluster hold.
 * @param now seconds since the epoch.
 */
export function whoHas(
  name: string,
  identities: readonly PodIdentity[],
  answers: readonly Answer[],
  roots: readonly CertificateFacts[],
  now: number,
): WhoReport {
  const newest = new Map<string, Answer>();
  for (const answer of answers) {
    const [leaf] = answer.chain;
    const { metadata, spec } = answer.request;
    const key = `${metadata.namespace}/${spec.podName}/${spec.podUID}/${spec.signerName}`;
    const known = newest.get(key)?.chain[0];
    if (leaf && leaf.notAfter > now && (!known || known.notAfter < leaf.notAfter)) newest.set(key, answer);
  }
  const holders: Holder[] = [];
  // Two volumes of a pod may have two names. The certificate belongs to the one that gets this name, so that comes first.
  const decided = identities.map((each) => {
    const { identity } = each;
    return { ...each, getsIt: identity.ok && hasName(identity.subject, name) };
  });
  decided.sort((one, other) => Number(other.getsIt) - Number(one.getsIt));
  for (const { pod, facts, signer, source, identity, getsIt } of decided) {
    const key = `${pod}/${facts.uid}/${signer.profile.signerName}`;
    const answer = newest.get(key);
    if (!getsIt && !answer) continue;
    newest.delete(key);
    const [namespace = '', podName = ''] = pod.split('/');
    holders.push({
      ...{ namespace, pod: podName, node: facts.nodeName, signer: signer.profile.signerName, getsIt },
      by: source ? 'certificate' : 'token',
      registration: (getsIt && identity.ok && identity.terms?.registration) || null,
      certificate: answer ? certificateOf(answer, roots) : null,
    });
  }
  // What is left are requests of pods that are gone, or can no longer ask.
  for (const answer of newest.values()) {
    const { metadata, spec } = answer.request;
    holders.push({
      ...{ namespace: metadata.namespace ?? '', pod: spec.podName, node: spec.nodeName },
      ...{ signer: spec.signerName, getsIt: false, by: 'certificate', registration: null },
      certificate: certificateOf(answer, roots),
    });
  }
  return { name, holders };
}

/** What is known of the certificate that a request was answered with; null where it has none. */
export function certificateOf(
  { request, chain }: Answer,
  roots: readonly CertificateFacts[],
): HeldCertificate | null {
  const [leaf] = chain;
  if (!leaf) return null;
  const top = chain.at(-1) ?? leaf;
  const keyId = top.authorityKeyId && Buffer.from(top.authorityKeyId).toString('hex');
  const root = roots.find((each) => keyId === Buffer.from(each.keyId).toString('hex'));
  return {
    request: request.metadata.name,
    serial: leaf.serialHex,
    notAfter: rfc3339(leaf.notAfter),
    refreshFrom: request.status?.beginRefreshAt ?? null,
    authority: { keyId: keyId ?? null, root: root?.sha256Hex ?? null },
  };
}
