import { publicJwkOf } from '../../spiffe/jwk.ts';
import { type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { bundleName, type DesiredBundle, type ObservedBundle, trustBundleOf } from '../trust/bundle.ts';
import { bundleLabels, trustDomainLabel } from '../trust/labels.ts';
import type { Sibling } from '../trust/siblings.ts';
import type { DesiredBundles } from '../trust/trust-bundle-publisher.ts';
import type { FederatedTrustDomain } from './federated-trust-domain.ts';
import { type ForeignBundle, heldBundle, printForeignBundle } from './foreign-bundle.ts';

/** Names the resource that a ClusterTrustBundle was made from. */
export const sourceAnnotation = 'kubespiffe.io/federated-trust-domain';
/** Its UID. A resource that is created again under the same name did not give us these roots. */
const sourceUidAnnotation = 'kubespiffe.io/federated-trust-domain-uid';

export const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export type NamedResource = Pick<FederatedTrustDomain, 'name' | 'trustDomain' | 'isSelf'>;

/**
 * The names of the ClusterTrustBundles of a resource; the first one is that of its status. Pods that select the preview of
 * their own trust domain need the roots of its other clusters too, so these have two. A resource may be named
 * `NAME-preview`, so the preview is marked before the name. Pure.
 */
export function bundleNamesOf({ name, trustDomain, isSelf }: NamedResource, signerName: string): string[] {
  if (!isSelf) return [bundleName(signerName, suffixOf('peer', trustDomain))];
  return selfKinds.map((kind) => bundleName(signerName, suffixOf(kind, name)));
}

/**
 * Whether a ClusterTrustBundle was made from this resource. Earlier versions recorded no UID. The name alone decides then, so
 * that an upgrade deletes no bundle. Pure.
 */
export function isMadeFrom(
  { name, annotations }: Pick<ObservedBundle, 'name' | 'annotations'>,
  resource: NamedResource & Pick<FederatedTrustDomain, 'uid'>,
  signerName: string,
): boolean {
  const { [sourceAnnotation]: source, [sourceUidAnnotation]: uid = resource.uid } = annotations;
  return (
    source === resource.name && uid === resource.uid && bundleNamesOf(resource, signerName).includes(name)
  );
}

const selfKinds = ['self', 'self-preview'] as const;

/** Whether a ClusterTrustBundle is named as one of another cluster of the own trust domain. Pure. */
export function isNamedAsSelf(name: string, signerName: string): boolean {
  return selfKinds.some((kind) => name.startsWith(bundleName(signerName, `${kind}.`)));
}

/**
 * The last part of the name of a ClusterTrustBundle, which has to be a DNS name. Another name is hashed with a colon, which
 * no trust domain has, so that it cannot be the hash of a longer one.
 */
function suffixOf(kind: 'peer' | (typeof selfKinds)[number], name: string): string {
  const label = trustDomainLabel(name);
  return `${kind}.${dnsSubdomain.test(label) ? label : trustDomainLabel(`:${name}`)}`;
}

/** What is made from the bundle that a resource holds. */
export interface ResourceBundles {
  /** What another cluster of this trust domain has; kept for these alone. */
  readonly sibling: Sibling | undefined;
  /** JSON. Undefined where no bundle is held. */
  readonly document: string | undefined;
  /** By name; empty where no root is held. */
  readonly bundles: DesiredBundles;
}

/** Reads what a resource holds. Pure. @param trustDomain that of the pods of the signer. @param now seconds since the epoch. */
export function bundlesFrom(
  resource: FederatedTrustDomain,
  { signerName, trustDomain }: { readonly signerName: string; readonly trustDomain: string },
  now: Seconds,
): ResourceBundles {
  const { status } = resource;
  const held = heldBundle(resource, now);
  if (!held) return { sibling: undefined, document: undefined, bundles: new Map() };
  const sibling = resource.isSelf ? toSibling(held) : undefined;
  const printed = printForeignBundle(held);
  // One text in memory where it can be, for there may be many.
  const document = printed === status.bundle ? status.bundle : printed;
  if (held.roots.length === 0) return { sibling, document, bundles: new Map() };
  const pem = trustBundleOf(held.roots);
  const annotations = { [sourceAnnotation]: resource.name, [sourceUidAnnotation]: resource.uid };
  const bundles = bundleNamesOf(resource, signerName).map((name, index): [string, Result<DesiredBundle>] => {
    const labels = bundleLabels(trustDomain, index === 0 ? 'live' : 'preview', resource.trustDomain);
    return [name, pem.ok ? success({ name, signerName, labels, annotations, ...pem.value }) : pem];
  });
  return { sibling, document, bundles: new Map(bundles) };
}

const toSibling = ({ roots, jwtKeys }: ForeignBundle): Sibling => ({
  roots,
  jwtKeys: [...jwtKeys].map(([kid, key]) => ({ kid, jwk: publicJwkOf(key) })),
});
