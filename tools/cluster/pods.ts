import { type OpenRequest, toCertificateRequest } from '../../signer/issuance/request.ts';
import type { InformerSpec } from '../../signer/kube/informer.ts';
import type { Fields } from '../../signer/kube/json-reader.ts';
import { allPods, type PodFacts, type PodReader } from '../../signer/kube/pods.ts';
import type { Pod } from '../../signer/kube/types.ts';
import type { SignerProfile } from '../../signer/signers/profile.ts';
import { subjectKeyTypes } from '../../spiffe/pki/algorithms.ts';
import type { SubjectKey } from '../../spiffe/pki/spki.ts';

/** What a `podCertificate` source of a pod asks for. */
export interface CertificateSource {
  readonly volume: string;
  readonly signerName: string;
  /** As Kubernetes calls it, such as `ECDSAP256`. */
  readonly keyType: string;
  readonly maxExpirationSeconds?: number;
  readonly userAnnotations?: Readonly<Record<string, string>>;
}

/** A pod as the signer knows it, and what it asks for. */
export interface KnownPod extends PodFacts {
  readonly sources: readonly CertificateSource[];
  /** The kind of its controller, such as `ReplicaSet`, which replaces it when it is gone. */
  readonly controller?: string;
}

type WireSource = Omit<CertificateSource, 'volume'>;
type WirePod = Pod & {
  metadata: { ownerReferences?: { kind: string; controller?: boolean }[] };
  spec?: { volumes?: { name: string; projected?: { sources?: { podCertificate?: WireSource }[] } }[] };
};

/** All pods as the signer reads them, with their `podCertificate` sources. */
export function podsWithSources(reader?: PodReader): InformerSpec<WirePod, KnownPod> {
  const spec = allPods(reader);
  return {
    ...spec,
    fields: withSources(spec.fields),
    project: (wire, version) => {
      const facts = spec.project(wire, version);
      const owner = wire.metadata.ownerReferences?.find(({ controller }) => controller)?.kind;
      return (
        facts && { ...facts, sources: sourcesOf(wire), ...(owner !== undefined && { controller: owner }) }
      );
    },
  };
}

function withSources(fields: Fields): Fields {
  const { spec } = fields === true ? {} : fields;
  if (fields === true || spec === true) return fields;
  const volumes = { name: true, projected: { sources: { podCertificate: true } } } as const;
  const { metadata } = fields;
  const ownerReferences = { kind: true, controller: true } as const;
  const owned = typeof metadata === 'object' ? { ...metadata, ownerReferences } : true;
  return { ...fields, metadata: owned, spec: { ...spec, volumes } };
}

function sourcesOf({ spec }: WirePod): CertificateSource[] {
  return (spec?.volumes ?? []).flatMap(({ name, projected }) =>
    (projected?.sources ?? []).flatMap(({ podCertificate }) =>
      podCertificate ? [{ volume: name, ...podCertificate }] : [],
    ),
  );
}

/** The request that kubelet makes for a source, up to its key, which only kubelet has. */
export function requestOf(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  pod: PodFacts,
  source: CertificateSource,
  profile: SignerProfile,
): OpenRequest {
  const { signerName, maxExpirationSeconds, userAnnotations } = source;
  const request = toCertificateRequest(
    {
      metadata: { name: '', namespace },
      spec: {
        ...{ signerName, podName: name, podUID: pod.uid },
        ...{ serviceAccountName: pod.serviceAccountName, serviceAccountUID: '' },
        ...{ nodeName: pod.nodeName, nodeUID: '' },
        ...(maxExpirationSeconds !== undefined && { maxExpirationSeconds }),
        ...(userAnnotations && { unverifiedUserAnnotations: { ...userAnnotations } }),
      },
    },
    'v1',
    profile.annotations,
  );
  if (request.answered !== undefined) throw new Error('a request without a status is answered');
  return request;
}

/** The key that kubelet makes for a source, with the properties by which the signer decides. */
export function keyOf({ keyType }: Pick<CertificateSource, 'keyType'>): SubjectKey {
  const type = subjectKeyTypes.find(({ kubernetes }) => kubernetes === keyType);
  if (!type) return { kind: 'unsupported', algorithm: keyType };
  return { kind: 'supported', type, spki: new Uint8Array(), keyId: new Uint8Array() };
}
