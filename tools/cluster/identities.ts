import { type Identity, noAnnotations, type Verified, verifyPod } from '../../signer/identity/identify.ts';
import { decideOnRequest } from '../../signer/issuance/decide.ts';
import { toCertificateRequest } from '../../signer/issuance/request.ts';
import type { PodFacts, PodReference } from '../../signer/kube/pods.ts';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import type { DenyReason } from '../../signer/observe/reasons.ts';
import { type CertificateSource, type KnownPod, keyOf, requestOf } from './pods.ts';
import type { KnownSigner, World } from './world.ts';

/** The decision of one signer about one pod. */
export interface PodIdentity {
  /** `namespace/name` */
  readonly pod: string;
  readonly facts: KnownPod;
  readonly signer: KnownSigner;
  /** The source in the pod that asks this signer; undefined where the pod can only ask the token endpoint. */
  readonly source: CertificateSource | undefined;
  /** Not ok also where the signer denies what the source asks for. */
  readonly identity: Identity | { readonly ok: false; readonly reason: DenyReason; readonly detail: string };
}

/** Splits `namespace/name`. */
export function placeOf(key: string): { namespace: string; name: string } {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

function referenceTo(key: string, facts: PodFacts): PodReference {
  const { namespace, name } = placeOf(key);
  return {
    ...{ namespace, podName: name, podUID: facts.uid },
    ...{ serviceAccountName: facts.serviceAccountName, nodeName: facts.nodeName },
  };
}

/**
 * Who a pod is to each signer that it can ask: those of its `podCertificate` sources, and the one of the token
 * endpoint. A finished pod requests nothing.
 */
function identitiesOf(world: Pick<World, 'signers'>, pod: string, facts: KnownPod): PodIdentity[] {
  if (facts.finished !== undefined) return [];
  return world.signers.flatMap((signer) => {
    const { signerName, hasTokenEndpoint } = signer.profile;
    const sources = facts.sources.filter((source) => source.signerName === signerName);
    const asked = sources.length === 0 && hasTokenEndpoint ? [undefined] : sources;
    return asked.map((source): PodIdentity => {
      const request = source && requestOf(placeOf(pod), facts, source, signer.profile);
      const decision = source && request && decideOnRequest(request, keyOf(source));
      const identity =
        decision?.kind === 'deny'
          ? ({ ok: false, reason: decision.reason, detail: decision.detail } as const)
          : signer.identify(referenceTo(pod, facts), facts, request?.annotations ?? noAnnotations);
      return { pod, facts, signer, source, identity };
    });
  });
}

/** The same for all pods. */
export function allIdentities(world: Pick<World, 'signers' | 'pods'>): PodIdentity[] {
  return [...world.pods.store.keys()].sort().flatMap((pod) => {
    const facts = world.pods.store.get(pod);
    return facts ? identitiesOf(world, pod, facts) : [];
  });
}

/**
 * Who the pod of a request is now to the signer that the request names, also of an answered request. Undefined where this
 * signer is not enabled. Pure.
 */
export function identityOfRequest(
  pcr: PodCertificateRequest,
  world: Pick<World, 'signers' | 'pods'>,
): Identity | Exclude<Verified, { ok: true }> | undefined {
  const signer = world.signers.find(({ profile }) => profile.signerName === pcr.spec.signerName);
  if (!signer) return undefined;
  const { metadata, spec } = pcr;
  const request = toCertificateRequest({ metadata, spec }, 'v1', signer.profile.annotations);
  if (request.answered !== undefined) throw new Error('a request without a status is answered');
  const pod = world.pods.store.get(`${request.namespace}/${request.podName}`);
  const verified = verifyPod(request, pod ? { kind: 'found', pod } : { kind: 'gone' });
  return verified.ok ? signer.identify(request, verified.pod, request.annotations) : verified;
}
