import type { EndpointProfile } from '../../client/bundle-endpoint.ts';
import { endpointProblem } from '../../spiffe/bundle.ts';
import { parseSpiffeId, type SpiffeId } from '../../spiffe/id.ts';
import { isJsonObject, shown } from '../../spiffe/json.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { isDevTrustDomain, parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { duration, objectOf, readBoolean, readText, under } from '../kube/field-readers.ts';
import type { InformerSpec } from '../kube/informer.ts';
import { type Fields, pickFields } from '../kube/json-reader.ts';
import type { ApiResource } from '../kube/resources.ts';
import type { Store } from '../kube/store.ts';
import { metadataFields } from '../kube/types.ts';

/** Where the bundle of a trust domain comes from. */
export type BundleOrigin =
  | { readonly kind: 'document'; readonly text: string }
  /** The name of a ClusterTrustBundle that something else keeps. */
  | { readonly kind: 'clusterTrustBundle'; readonly name: string }
  | { readonly kind: 'https_web'; readonly url: URL; readonly rootsPem: string | undefined }
  | {
      readonly kind: 'https_spiffe';
      readonly url: URL;
      readonly endpointId: SpiffeId;
      /** PEM or SPIFFE bundle (JSON). */
      readonly bootstrapBundle: string | undefined;
    };

/** What the spec of a FederatedTrustDomain says. It changes with the generation only. */
interface SpecFacts {
  /** Empty where it cannot be read. */
  readonly trustDomain: string;
  /** Whether it is another cluster of this very trust domain. */
  readonly isSelf: boolean;
  readonly isPaused: boolean;
  /** How often the bundle may be fetched, in seconds. */
  readonly refresh: { readonly minSeconds: number; readonly maxSeconds: number };
  /** Or what is wrong with the spec, beginning with the path of the field. */
  readonly origin: Result<BundleOrigin>;
}

/** A FederatedTrustDomain that was read. */
export interface FederatedTrustDomain extends SpecFacts {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Raised with each change of the spec. */
  readonly generation: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Changed by a person to ask for a fetch now. */
  readonly refreshRequest: string | undefined;
  /** As the API server has it. Another version of the signer or another writer may have written it. */
  readonly status: Readonly<Record<string, unknown>>;
}

export const refreshAnnotation = 'kubespiffe.io/refresh';
const usualRefresh = { minSeconds: 30, maxSeconds: 24 * 3600 };
const bound = duration(usualRefresh.minSeconds, '30s', { seconds: usualRefresh.maxSeconds, text: '24h' });

const readSpec = objectOf({
  trustDomain: (value) => (typeof value === 'string' ? parseTrustDomain(value) : readText(value)),
  bundleEndpoint: objectOf({
    url: readText,
    profile: readProfile,
    endpointSPIFFEID: (value) =>
      typeof value === 'string' ? parseSpiffeId(value) : failure(`is ${shown(value)}, not text`),
    caBundle: readText,
  }),
  bundle: readText,
  clusterTrustBundle: readTrustBundleName,
  bootstrapBundle: readText,
  refreshHint: objectOf({ min: bound, max: bound }),
  paused: readBoolean,
  peerOf: (value) => (value === 'self' ? success(value) : failure(`is ${shown(value)}, not self`)),
});
type Spec = Extract<ReturnType<typeof readSpec>, { ok: true }>['value'];

/**
 * Reads an object of the API server. It may be older than the rules of its CRD, so nothing is taken for granted. Pure,
 * never throws.
 *
 * @param known the last version that was read of an object: its spec is not read again.
 */
export function readFederatedTrustDomain(
  wire: unknown,
  known: (name: string) => FederatedTrustDomain | undefined = () => undefined,
): FederatedTrustDomain {
  const { metadata, spec, status } = isJsonObject(wire) ? wire : {};
  const { name, uid, resourceVersion, generation, creationTimestamp, annotations } = isJsonObject(metadata)
    ? metadata
    : {};
  const last = known(textOr(name));
  const hasSameSpec = last !== undefined && last.uid === uid && last.generation === generation;
  const { trustDomain, isSelf, isPaused, refresh, origin } = hasSameSpec ? last : readSpecFacts(spec);
  return {
    ...{ trustDomain, isSelf, isPaused, refresh, origin },
    name: textOr(name),
    uid: textOr(uid),
    resourceVersion: textOr(resourceVersion),
    generation: typeof generation === 'number' ? generation : 0,
    createdAt: textOr(creationTimestamp),
    refreshRequest: isJsonObject(annotations)
      ? textOr(annotations[refreshAnnotation]) || undefined
      : undefined,
    status: isJsonObject(status) ? status : {},
  };
}

function readSpecFacts(spec: unknown): SpecFacts {
  const { trustDomain: named } = isJsonObject(spec) ? spec : {};
  const trustDomain = parseTrustDomain(textOr(named));
  const read = readSpec(spec);
  const { min, max } = (read.ok && read.value.refreshHint) || {};
  const minSeconds = min ?? usualRefresh.minSeconds;
  return {
    trustDomain: trustDomain.ok ? trustDomain.value : '',
    isSelf: read.ok && read.value.peerOf === 'self',
    isPaused: read.ok && read.value.paused === true,
    refresh: { minSeconds, maxSeconds: Math.max(minSeconds, max ?? usualRefresh.maxSeconds) },
    origin: read.ok ? originOf(read.value) : failure(under('spec', read.reason).slice(1)),
  };
}

const textOr = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise);

function readProfile(value: unknown): Result<EndpointProfile['name']> {
  return value === 'https_web' || value === 'https_spiffe'
    ? success(value)
    : failure(`is ${shown(value)}, neither https_web nor https_spiffe`);
}

/** It goes into a path: a name may have colons, which separate the signer. */
function readTrustBundleName(value: unknown): Result<string> {
  return typeof value === 'string' && /^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$/.test(value)
    ? success(value)
    : failure(`is ${shown(value)}, not the name of a ClusterTrustBundle`);
}

function originOf(spec: Spec): Result<BundleOrigin> {
  const { trustDomain, bundleEndpoint, bundle, clusterTrustBundle, bootstrapBundle } = spec;
  if (trustDomain === undefined) return failure('spec.trustDomain is missing');
  if (isDevTrustDomain(trustDomain)) {
    return failure(`spec.trustDomain is ${trustDomain}, for which everyone with \`kubespiffe dev\` has a CA`);
  }
  const given = [bundleEndpoint, bundle, clusterTrustBundle].filter((each) => each !== undefined);
  if (given.length !== 1) {
    return failure('spec needs one of bundleEndpoint, bundle and clusterTrustBundle, and no other');
  }
  if (bootstrapBundle !== undefined && bundleEndpoint?.profile !== 'https_spiffe') {
    return failure('spec.bootstrapBundle is for a bundleEndpoint with the profile https_spiffe');
  }
  if (bundle !== undefined) return success({ kind: 'document', text: bundle });
  if (clusterTrustBundle !== undefined) {
    return success({ kind: 'clusterTrustBundle', name: clusterTrustBundle });
  }
  const { url: text = '', profile, endpointSPIFFEID: endpointId, caBundle } = bundleEndpoint ?? {};
  const url = readUrl(text);
  if (!url.ok) return failure(`spec.bundleEndpoint.url ${url.reason}`);
  if (profile === undefined) return failure('spec.bundleEndpoint.profile is missing');
  if ((profile === 'https_spiffe') !== (endpointId !== undefined)) {
    return failure(
      'spec.bundleEndpoint.endpointSPIFFEID is needed with the profile https_spiffe, and only there',
    );
  }
  if (endpointId === undefined) {
    const roots = caBundle === undefined ? undefined : decodePem(caBundle, { strict: true });
    if (roots && !roots.ok) return failure(`spec.bundleEndpoint.caBundle cannot be read: ${roots.reason}`);
    return success({ kind: 'https_web', url: url.value, rootsPem: caBundle });
  }
  if (caBundle !== undefined) {
    return failure(
      'spec.bundleEndpoint.caBundle is for the profile https_web; with https_spiffe give bootstrapBundle',
    );
  }
  if (endpointId.path === '') {
    return failure(
      'spec.bundleEndpoint.endpointSPIFFEID is the ID of a trust domain; an endpoint has a path',
    );
  }
  if (endpointId.trustDomain === trustDomain && bootstrapBundle === undefined) {
    return failure(
      'spec.bootstrapBundle is missing: endpointSPIFFEID is of this trust domain, whose bundle is not known before the first fetch',
    );
  }
  return success({ kind: 'https_spiffe', url: url.value, endpointId, bootstrapBundle });
}

function readUrl(text: string): Result<URL> {
  if (!URL.canParse(text)) return failure(`is ${shown(text)}, not a URL`);
  const url = new URL(text);
  const problem = endpointProblem(url);
  if (problem !== undefined) return failure(`cannot be used: ${problem}`);
  if (url.hash !== '') return failure('has a fragment, which an endpoint never sees; remove it');
  return url.port === '0' ? failure('has port 0, which cannot be reached') : success(url);
}

const federatedTrustDomains: ApiResource = {
  group: 'kubespiffe.io',
  versions: ['v1alpha1'],
  name: 'federatedtrustdomains',
  mayBeMissing: true,
  hasOurStatus: true,
};

/** Every FederatedTrustDomain of the cluster. */
export const allFederatedTrustDomains = {
  resource: federatedTrustDomains,
  fields: {
    metadata: { ...metadataFields, generation: true, creationTimestamp: true, annotations: true },
    spec: true,
    status: true,
  },
  project: (wire) => readFederatedTrustDomain(wire),
  indexes: {
    trustDomain: ({ isSelf, trustDomain }) => (isSelf || trustDomain === '' ? undefined : trustDomain),
  },
} as const satisfies InformerSpec<unknown, FederatedTrustDomain>;

/** What the signer keeps of a status: there may be a thousand, and the messages in it are for people. */
const keptStatus: Fields = {
  ...{ observedGeneration: true, observedRefresh: true, nextAttemptTime: true, lastSuccessTime: true },
  ...{ bundle: true, bundleGeneration: true, firstExpiryTime: true, x509Keys: true, jwtKeys: true },
  conditions: { type: true, status: true, reason: true, lastTransitionTime: true },
};

/**
 * The same for the signer. Each attempt writes a status, most often with the same bundle.
 *
 * @param known what is kept of a resource so far: its spec is not read again, and the text of its bundle not kept twice.
 */
export function followedTrustDomains(
  known: (name: string) => FederatedTrustDomain | undefined,
): InformerSpec<unknown, FederatedTrustDomain> {
  const { metadata } = allFederatedTrustDomains.fields;
  return {
    ...allFederatedTrustDomains,
    fields: {
      metadata: { ...metadata, annotations: { [refreshAnnotation]: true } },
      ...{ spec: true, status: keptStatus },
    },
    project(wire) {
      const resource = readFederatedTrustDomain(wire, known);
      const status = pickFields(resource.status, keptStatus) as FederatedTrustDomain['status'];
      const bundle = known(resource.name)?.status.bundle;
      const isKnown = bundle !== undefined && bundle === status.bundle;
      return { ...resource, status: isKnown ? { ...status, bundle } : status };
    },
  };
}

/**
 * The resource that counts for each trust domain: the one that was created first. Resources for other clusters of this
 * trust domain are not in the result, because all of them count.
 */
export function countingOnes(all: Iterable<FederatedTrustDomain>): ReadonlyMap<string, FederatedTrustDomain> {
  const first = new Map<string, FederatedTrustDomain>();
  for (const each of all) {
    const other = first.get(each.trustDomain);
    const counts = each.trustDomain !== '' && !each.isSelf;
    if (counts && (!other || isEarlier(each, other))) first.set(each.trustDomain, each);
  }
  return first;
}

/** The one that counts for a trust domain, of those that are followed. */
export function countingOne(
  store: Pick<Store<FederatedTrustDomain>, 'by'>,
  trustDomain: string,
): FederatedTrustDomain | undefined {
  return countingOnes(store.by('trustDomain', trustDomain)).get(trustDomain);
}

function isEarlier(one: FederatedTrustDomain, other: FederatedTrustDomain): boolean {
  if (one.createdAt !== other.createdAt) return one.createdAt < other.createdAt;
  return one.name < other.name;
}
