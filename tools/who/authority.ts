import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { KnownPod } from '../cluster/pods.ts';

/** The newest certificate of one pod from one signer among those that requests show. */
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
  readonly holders: readonly (Omit<ShownCertificate, 'leaf'> & {
    readonly serial: string;
    /** RFC 3339 */
    readonly notAfter: string;
  })[];
  /** `namespace/name` of pods that have a certificate which no request shows any more: whose it is, is not known. */
  readonly unknown: readonly string[];
}

/**
 * Who holds certificates of an authority. Kubernetes deletes requests some 15 min after they were made, so of older
 * certificates only the pod is known. Pure.
 *
 * @param keyId of the certificate that signs for the authority.
 * @param shown certificates of all requests; of two of one pod and signer the later one counts, unless the pod has more
 *   than one volume of that signer.
 * @param signers whose volumes count.
 * @param now seconds since the epoch.
 */
export function holdersOf(
  keyId: Uint8Array,
  shown: readonly ShownCertificate[],
  pods: Iterable<readonly [key: string, pod: KnownPod]>,
  { signers, now }: { readonly signers: ReadonlySet<string>; readonly now: number },
): AuthorityHolders {
  const running = [...pods].filter(([, { finished }]) => finished === undefined);
  const volumes = Map.groupBy(
    running.flatMap(([, { uid, sources }]) => sources.map(({ signerName }) => `${uid} ${signerName}`)),
    (key) => key,
  );
  const groups = Map.groupBy(shown, ({ podUID, signer }) => `${podUID} ${signer}`);
  const held = [...groups].flatMap(([key, group]) => {
    const newestFirst = group.toSorted((one, other) => other.leaf.notAfter - one.leaf.notAfter);
    // A request does not say for which volume it is: of two volumes each certificate counts until it ends.
    const current = (volumes.get(key)?.length ?? 1) > 1 ? newestFirst : newestFirst.slice(0, 1);
    const isOfAuthority = ({ authorityKeyId: id }: CertificateFacts) =>
      id !== undefined && Buffer.compare(id, keyId) === 0;
    return current.find(({ leaf }) => leaf.notAfter > now && isOfAuthority(leaf)) ?? [];
  });
  const holders = held
    .map(({ namespace, pod, podUID, signer, leaf }) => {
      return { namespace, pod, podUID, signer, serial: leaf.serialHex, notAfter: rfc3339(leaf.notAfter) };
    })
    .sort((one, other) => `${one.namespace}/${one.pod}`.localeCompare(`${other.namespace}/${other.pod}`));
  const heldKeys = new Set(held.map(({ podUID, signer }) => `${podUID} ${signer}`));
  const unknown = running.filter(([, { uid, sources }]) =>
    sources.some(({ signerName }) => {
      const source = `${uid} ${signerName}`;
      const shownOf = groups.get(source)?.length ?? 0;
      const isShown = heldKeys.has(source) || shownOf >= (volumes.get(source)?.length ?? 0);
      return signers.has(signerName) && !isShown;
    }),
  );
  return { holders, unknown: unknown.map(([key]) => key).sort() };
}
