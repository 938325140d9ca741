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
  const volumes = new Map<string, number>();
  for (const [, { uid, sources }] of running) {
    for (const { signerName } of sources) {
      const key = `${uid} ${signerName}`;
      volumes.set(key, (volumes.get(key) ?? 0) + 1);
    }
  }
  const groups = Map.groupBy(shown, ({ podUID, signer }) => `${podUID} ${signer}`);
  const held = [...groups].flatMap(([key, group]) => {
    const newestFirst = group.toSorted((one, other) => other.leaf.notAfter - one.leaf.notAfter);
    // A request does not say for which volume it is: of two volumes each certificate counts until it ends.
    const current = (volumes.get(key) ?? 1) > 1 ? newestFirst : newestFirst.slice(0, 1);
    const own = current.find(({ leaf }) => leaf.notAfter > now && isSame(leaf.authorityKeyId, keyId));
    return own ? [own] : [];
  });
  const holders = held
    .map(({ namespace, pod, podUID, signer, leaf }) => {
      return { namespace, pod, podUID, signer, serial: leaf.serialHex, notAfter: rfc3339(leaf.notAfter) };
    })
    .sort((one, other) => `${one.namespace}/${one.pod}`.localeCompare(`${other.namespace}/${other.pod}`));
  const heldKeys = new Set(held.map(({ podUID, signer }) => `${podUID} ${signer}`));
  const unknown = running.flatMap(([key, { uid, sources }]) => {
    const isUnknown = sources.some(({ signerName }) => {
      const source = `${uid} ${signerName}`;
      const shownOf = groups.get(source)?.length ?? 0;
      return signers.has(signerName) && !heldKeys.has(source) && shownOf < (volumes.get(source) ?? 0);
    });
    const { namespace, name } = placeOf(key);
    return isUnknown ? [`${namespace}/${name}`] : [];
  });
  return { holders, unknown: unknown.sort() };
}

function isSame(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one !== undefined && Buffer.compare(one, other) === 0;
}
