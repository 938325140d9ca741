import { hash } from 'node:crypto';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Pool } from '../authority/pool.ts';
import type { InformerSpec } from '../kube/informer.ts';
import { type ConfigMap, metadataFields, type Namespace } from '../kube/types.ts';
import { fingerprintsOf } from './fingerprints.ts';
import { bundleLabels, managedBy, trustDomainLabel } from './labels.ts';
import { rootsPem } from './published-documents.ts';
import { noPeers, noSiblings, type Siblings } from './siblings.ts';

/** A namespace with this label gets the roots. Its owner or an administrator sets it. */
export const optInLabel = { key: 'kubespiffe.io/roots', value: 'true' } as const;
/** The key of the ConfigMap, which is the name of the file in a pod. */
export const rootsKey = 'roots.pem';
/** The API server's limit of all values together (validation.go, ValidateConfigMap): 1 MiB. */
const maxConfigMapBytes = 1024 * 1024;
/** Most PEM of one other trust domain, in bytes: one peer must not take the room of the others. */
const maxPeerBytes = 64 * 1024;

/** A key with the roots of another trust domain begins like this, and is ours too. */
const peerPrefix = 'peer.';

/** The desired content in every namespace that takes part. */
export interface DesiredRoots {
  readonly labels: Readonly<Record<string, string>>;
  /** As in /roots.pem of the token endpoint: equal on every replica, byte for byte. */
  readonly pem: string;
  /** The roots of other trust domains by key, such as `peer.partner.example.pem`, and a digest of them. */
  readonly peers: Readonly<Record<string, string>>;
  readonly peersDigest: string;
  /** The trust domains whose roots are left out, each with the reason in words. */
  readonly leftOut: ReadonlyMap<string, string>;
}

/** What the content is made from. */
export interface RootSources {
  readonly pool: Pool;
  readonly siblings: Siblings;
  /** PEM by trust domain. */
  readonly peers: ReadonlyMap<string, string>;
}

/**
 * The desired roots of a pool and of other clusters in each namespace; an empty pool yields none, because nothing is ever
 * emptied. The roots of another trust domain are left out if they take more than 64 KiB, or do not fit beside our own and
 * those of the trust domains that need less room: a few with long bundles must not keep the others out.
 */
export function desiredRoots(
  pool: Pool,
  { siblings, peers }: Omit<RootSources, 'pool'> = { siblings: noSiblings, peers: noPeers },
): Result<DesiredRoots> {
  const document = rootsPem(pool, siblings);
  if (!document) return failure('the pool has no root to publish');
  let { length } = document.bytes;
  if (length > maxConfigMapBytes) {
    return failure(`the roots take ${length} bytes of PEM; a ConfigMap holds 1 MiB`);
  }
  const fitting: Record<string, string> = {};
  const leftOut = new Map<string, string>();
  for (const [trustDomain, pem] of [...peers].sort(smallerFirst)) {
    const key = `${peerPrefix}${trustDomainLabel(trustDomain)}.pem`;
    const size = key.length + pem.length;
    if (pem.length > maxPeerBytes) {
      leftOut.set(
        trustDomain,
        `its roots take ${pem.length} bytes of PEM; at most ${maxPeerBytes} are published`,
      );
    } else if (length + size > maxConfigMapBytes) {
      leftOut.set(trustDomain, `its ${pem.length} bytes of PEM do not fit; a ConfigMap holds 1 MiB`);
    } else {
      length += size;
      fitting[key] = pem;
    }
  }
  return success({
    ...{ labels: bundleLabels(pool.trustDomain), pem: document.bytes.toString() },
    ...{ peers: fitting, peersDigest: digestOf(fitting), leftOut },
  });
}

/** The same on every replica. */
function smallerFirst([one, pem]: [string, string], [other, otherPem]: [string, string]): number {
  return pem.length - otherPem.length || (one < other ? -1 : 1);
}

/** Empty where there are none, so that most ConfigMaps need no hash. */
function digestOf(peers: Readonly<Record<string, string>>): string {
  const entries = Object.entries(peers).sort();
  return entries.length === 0 ? '' : hash('sha256', JSON.stringify(entries), 'hex');
}

/** What we keep of a namespace with the label. */
export interface OptedIn {
  readonly isTerminating: boolean;
}

export function toOptedIn({ metadata, status }: Namespace): OptedIn {
  return { isTerminating: metadata.deletionTimestamp !== undefined || status?.phase === 'Terminating' };
}

/** What we keep of a ConfigMap of our name; of a foreign one, only that it exists. */
export interface ObservedConfigMap {
  readonly uid: string;
  readonly resourceVersion: string;
  /** Whether it has our label. Removing the label takes the ConfigMap from us, setting it hands it to us. */
  readonly isOurs: boolean;
  /** Whether it holds more than our keys. */
  readonly holdsMore: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly pem: string | undefined;
  /** The keys with roots of other trust domains, and a digest of these: they may be large, and there may be many namespaces. */
  readonly peerKeys: readonly string[];
  readonly peersDigest: string;
  /** SHA-256 of each certificate's DER in hex. */
  readonly roots: ReadonlySet<string>;
}

export function toObservedConfigMap({ metadata, data = {}, binaryData = {} }: ConfigMap): ObservedConfigMap {
  const { uid = '', resourceVersion = '', labels = {} } = metadata;
  const isOurs = labels[managedBy.key] === managedBy.value;
  const pem = isOurs ? data[rootsKey] : undefined;
  const peers = Object.fromEntries(
    Object.entries(data).filter(([key]) => isOurs && key.startsWith(peerPrefix)),
  );
  return {
    uid,
    resourceVersion,
    isOurs,
    holdsMore: [...Object.keys(data), ...Object.keys(binaryData)].some(
      (key) => key !== rootsKey && !key.startsWith(peerPrefix),
    ),
    labels: isOurs ? labels : {},
    pem,
    peerKeys: Object.keys(peers),
    peersDigest: digestOf(peers),
    roots: fingerprintsOf(pem ?? ''),
  };
}

/** Only namespaces with the label. */
export const optedInNamespaces: InformerSpec<Namespace, OptedIn> = {
  resource: { group: '', versions: ['v1'], name: 'namespaces' },
  labelSelector: `${optInLabel.key}=${optInLabel.value}`,
  fields: { metadata: { ...metadataFields, deletionTimestamp: true }, status: { phase: true } },
  project: toOptedIn,
};

/** The ConfigMaps of this name in all namespaces. */
export function configMapsNamed(name: string): InformerSpec<ConfigMap, ObservedConfigMap> {
  return {
    resource: { group: '', versions: ['v1'], name: 'configmaps' },
    name,
    fields: { metadata: { ...metadataFields, labels: true }, data: true, binaryData: true },
    project: toObservedConfigMap,
  };
}

/** What to do in a namespace; `difference` is the reason in words. */
export type Step =
  | { readonly kind: 'nothing' }
  /** `foreign`: a ConfigMap of that name is not ours, so it is not changed. */
  | { readonly kind: 'publish' | 'withdraw' | 'foreign'; readonly difference: string };

/**
 * Decides by what the watches show; without a pool nothing is published. The ConfigMap of a namespace that is being
 * deleted goes with it.
 */
export function nextStep(
  desired: DesiredRoots | undefined,
  namespace: OptedIn | undefined,
  observed: ObservedConfigMap | undefined,
): Step {
  if (!namespace) {
    return observed?.isOurs
      ? { kind: 'withdraw', difference: 'the namespace takes no roots' }
      : { kind: 'nothing' };
  }
  if (namespace.isTerminating) return { kind: 'nothing' };
  if (observed && !observed.isOurs) {
    return { kind: 'foreign', difference: 'a ConfigMap of the name exists that the signer did not make' };
  }
  const difference = desired && differenceOf(desired, observed);
  return difference === undefined ? { kind: 'nothing' } : { kind: 'publish', difference };
}

function differenceOf(desired: DesiredRoots, observed: ObservedConfigMap | undefined): string | undefined {
  if (!observed) return 'the ConfigMap is missing';
  if (observed.pem !== desired.pem) return `${rootsKey} is not the roots of the pool`;
  if (observed.peersDigest !== desired.peersDigest) return 'the roots of other trust domains are others';
  const label = Object.entries(desired.labels).find(([key, value]) => observed.labels[key] !== value);
  return label && `the label ${label[0]} is not ${label[1]}`;
}
