import { isNotFoundOfObject } from './api-error.ts';
import type { InformerSpec } from './informer.ts';
import { createJsonReader, type Fields } from './json-reader.ts';
import { labelIndex } from './label-index.ts';
import type { Store } from './store.ts';
import type { ApiRequest, Transport } from './transport.ts';
import { metadataFields, type Pod } from './types.ts';

/** What we keep of a pod: the facts that a request or credential is checked against. */
export interface PodFacts {
  readonly uid: string;
  readonly nodeName: string;
  readonly serviceAccountName: string;
  /** Succeeded or Failed; undefined while the pod may still run. */
  readonly finished: 'Succeeded' | 'Failed' | undefined;
  /** End of its termination grace period, seconds since the epoch; absent unless it is being deleted. */
  readonly deletesAt?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Only those that `podReaderOf` was given. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostname?: string;
  readonly subdomain?: string;
  /** Its podCertificate sources of the signers that `podReaderOf` was given. */
  readonly certificateSources?: readonly PodCertificateSource[];
  /** Only of a pod with `certificateSources`: whether a container runs, so that the volumes were mounted with a certificate. */
  readonly isRunning?: true;
}

/** A podCertificate source of a projected volume. */
export interface PodCertificateSource {
  readonly signerName: string;
  readonly userAnnotations: Readonly<Record<string, string>>;
}

/** A pod as a request or a credential names it. */
export interface PodReference {
  readonly namespace: string;
  readonly podName: string;
  readonly podUID: string;
  readonly serviceAccountName: string;
  /** Absent if the node is not named, as in most credentials. */
  readonly nodeName?: string;
}

/** The outcome of looking a pod up. */
export type PodLookup =
  | { readonly kind: 'found'; readonly pod: PodFacts }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unavailable'; readonly error: unknown };

/** How pods are read. Authors decide how large pods are, so only what is needed is kept. */
export interface PodReader {
  readonly fields: Fields;
  /** Projects a pod of the API server to what we keep of it. */
  toFacts(wire: Pod): PodFacts;
}

/**
 * @param annotations keys of the annotations that are kept.
 * @param signers signer names whose podCertificate sources are kept.
 */
export function podReaderOf(annotations: readonly string[] = [], signers: readonly string[] = []): PodReader {
  const fields = {
    metadata: {
      ...metadataFields,
      deletionTimestamp: true,
      labels: true,
      ...(annotations.length > 0 && {
        annotations: Object.fromEntries(annotations.map((key) => [key, true] as const)),
      }),
    },
    spec: {
      nodeName: true,
      serviceAccountName: true,
      hostname: true,
      subdomain: true,
      ...(signers.length > 0 && {
        volumes: { projected: { sources: { podCertificate: { signerName: true, userAnnotations: true } } } },
      }),
    },
    status: { phase: true },
  } as const satisfies Fields;
  const kept = new Set(annotations);
  // Most sources have no annotations: those of all pods are one object.
  const ofSigners = new Map(signers.map((signerName) => [signerName, { signerName, userAnnotations: {} }]));
  return { fields, toFacts: (wire) => ({ ...toPodFacts(wire, kept), ...sourcesOf(wire, ofSigners) }) };
}

const defaultReader = podReaderOf();

export function toPodFacts({ metadata, spec, status }: Pod, kept?: ReadonlySet<string>): PodFacts {
  const { deletionTimestamp, labels } = metadata;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => kept?.has(key));
  const { phase } = status ?? {};
  return {
    uid: metadata.uid ?? '',
    nodeName: spec?.nodeName ?? '',
    serviceAccountName: spec?.serviceAccountName ?? 'default',
    finished: phase === 'Succeeded' || phase === 'Failed' ? phase : undefined,
    // A time that cannot be parsed counts as past.
    ...(deletionTimestamp !== undefined && { deletesAt: Date.parse(deletionTimestamp) / 1000 || 0 }),
    ...(labels && { labels }),
    ...(annotations.length > 0 && { annotations: Object.fromEntries(annotations) }),
    ...(spec?.hostname && { hostname: spec.hostname }),
    ...(spec?.subdomain && { subdomain: spec.subdomain }),
  };
}

type PodWithVolumes = Pod & {
  spec?: {
    volumes?: { projected?: { sources?: { podCertificate?: Partial<PodCertificateSource> }[] | null } }[];
  };
};

/** Most characters of the userAnnotations of a source that are kept. A request with more is refused by every signer. */
const mostAnnotated = 8 * 1024;

function sourcesOf(
  { spec, status }: PodWithVolumes,
  signers: ReadonlyMap<string, PodCertificateSource>,
): Pick<PodFacts, 'certificateSources' | 'isRunning'> | undefined {
  if (signers.size === 0) return undefined;
  const sources = (spec?.volumes ?? []).flatMap(({ projected }) =>
    (projected?.sources ?? []).flatMap(({ podCertificate }): PodCertificateSource[] => {
      const plain = signers.get(podCertificate?.signerName ?? '');
      if (!plain) return [];
      const { userAnnotations = {} } = podCertificate ?? {};
      const size = Object.entries(userAnnotations).join().length;
      if (size > mostAnnotated) return [];
      return [size === 0 ? plain : { ...plain, userAnnotations }];
    }),
  );
  if (sources.length === 0) return undefined;
  return { certificateSources: sources, ...(status?.phase === 'Running' && { isRunning: true as const }) };
}

/** All pods of the cluster, indexed by namespace and label. */
export function allPods(reader: PodReader = defaultReader): InformerSpec<Pod, PodFacts> {
  return {
    resource: { group: '', versions: ['v1'], name: 'pods' },
    fields: reader.fields,
    project: reader.toFacts,
    indexes: { label: labelIndex },
  };
}

/**
 * The pod that a request or a credential names. The cached pod is used if it matches every name. Watches of two
 * resources are not ordered, so after a miss or mismatch the pod is read from the API server, once per call.
 *
 * @param cache undefined: do not use it.
 */
export async function lookUpPod(
  named: PodReference,
  needs: {
    readonly cache: Pick<Store<PodFacts>, 'get'> | undefined;
    readonly transport: Pick<Transport, 'request'>;
    readonly reader?: PodReader;
  },
  limits: Pick<ApiRequest, 'signal' | 'timeoutMs'>,
): Promise<PodLookup> {
  const { namespace, podName: name } = named;
  const { cache, transport, reader = defaultReader } = needs;
  const cached = cache?.get(`${namespace}/${name}`);
  if (cached && agrees(named, cached)) return { kind: 'found', pod: cached };
  try {
    const answer = await transport.request<Pod>({
      method: 'GET',
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`,
      resource: 'pods',
      reader: () => createJsonReader(reader.fields),
      ...limits,
    });
    return { kind: 'found', pod: reader.toFacts(answer.body) };
  } catch (error) {
    return isNotFoundOfObject(error) ? { kind: 'gone' } : { kind: 'unavailable', error };
  }
}

function agrees(named: PodReference, pod: PodFacts): boolean {
  return (
    pod.uid === named.podUID &&
    pod.serviceAccountName === named.serviceAccountName &&
    (named.nodeName === undefined || pod.nodeName === named.nodeName)
  );
}
