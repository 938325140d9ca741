import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { placeOf } from '../cluster/identities.ts';
import type { KnownPod } from '../cluster/pods.ts';

/** The newest certificate of one pod from one signer, as far as requests show it. */
export interface ShownCertificate {
  readonly namespace: string;
  readonly pod: string;
  readonly podUID: string;
  readonly signer: string;
  readonly leaf: CertificateFacts;
}

/** Who depends on an authority. */
export interface AuthorityHolders {
  /** Pods with a certificate that it signed and that has not ended. */
  readonly holders: readonly {
    readonly namespace: string;
    readonly pod: string;
    readonly podUID: string;
    readonly signer: string;
    readonly serial: string;
    /** RFC 3339 */
    readonly notAfter: string;
  }[];
  /** `namespace/name` of pods that have a certificate which no request shows any more: whose it is, is not known. */
  readonly unknown: readonly string[];
}

/**
 * Who holds certificates of an authority. Kubernetes deletes requests some 15 min after they were made, so of older
 * certificates only the pod is known. Pure.
 *
 * @param keyId of the certificate that signs for the authority.
 * @param shown certificates of all requests; of two of one pod and signer the later one counts.
 * @param signers whose volumes count.
 * @param now seconds since the epoch.
 */
export function holdersOf(
  keyId: Uint8Array,
  shown: readonly ShownCertificate[],
  pods: Iterable<readonly [key: string, pod: KnownPod]>,
  { signers, now }: { readonly signers: ReadonlySet<string>; readonly now: number },
): AuthorityHolders {
  const newest = new Map<string, ShownCertificate>();
  for (const each of shown) {
    const key = `${each.podUID} ${each.signer}`;
    const known = newest.get(key);
    if (!known || known.leaf.notAfter < each.leaf.notAfter) newest.set(key, each);
  }
  const holders = [...newest.values()]
    .filter(({ leaf }) => leaf.notAfter > now && isSame(leaf.authorityKeyId, keyId))
    .map(({ namespace, pod, podUID, signer, leaf }) => {
      return { namespace, pod, podUID, signer, serial: leaf.serialHex, notAfter: rfc3339(leaf.notAfter) };
    })
    .sort((one, other) => `${one.namespace}/${one.pod}`.localeCompare(`${other.namespace}/${other.pod}`));
  const unknown = [...pods].flatMap(([key, { uid, sources, finished }]) => {
    if (finished !== undefined) return [];
    const isUnknown = sources.some(
      ({ signerName }) => signers.has(signerName) && !newest.has(`${uid} ${signerName}`),
    );
    const { namespace, name } = placeOf(key);
    return isUnknown ? [`${namespace}/${name}`] : [];
  });
  return { holders, unknown: unknown.sort() };
}

function isSame(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one !== undefined && Buffer.compare(one, other) === 0;
}
