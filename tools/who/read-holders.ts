import { readAuthority } from '../../signer/authority/authority.ts';
import type { AuthorityRecord } from '../../signer/authority/document.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import { type ClusterOptions, withApi } from '../api.ts';
import { createListed } from '../cluster/lists.ts';
import { type KnownPod, podsWithSources } from '../cluster/pods.ts';
import { issuedChain, requestsWith } from '../cluster/requests.ts';
import type { Terminal } from '../terminal.ts';
import { type AuthorityHolders, holdersOf, type ShownCertificate } from './authority.ts';

/**
 * Reads who holds certificates of a CA, from the requests and pods of the cluster.
 *
 * @param now seconds since the epoch.
 * @returns the report, and the pods by `namespace/name`; undefined where the authority is no CA that can be read.
 * @throws CliError
 */
export async function readHolders(
  options: ClusterOptions,
  terminal: Terminal,
  record: AuthorityRecord | undefined,
  { trustDomain, now }: { readonly trustDomain: string | undefined; readonly now: number },
): Promise<{ report: AuthorityHolders; pods: ReadonlyMap<string, KnownPod> } | undefined> {
  const read = record && readAuthority(record, 'authority', trustDomain);
  if (!read?.ok) return undefined;
  const shown = createListed(requestsWith<ShownCertificate>(shownIn));
  const pods = createListed(podsWithSources());
  await withApi({ ...options, role: 'ClusterRole kubespiffe-identity-viewer' }, terminal, (api) =>
    Promise.all([shown.fill(api), pods.fill(api)]),
  );
  const signers = new Set(allProfiles.map(({ signerName }) => signerName));
  const running = new Map(
    [...pods.store.keys()].flatMap((key) => {
      const pod = pods.store.get(key);
      return pod ? [[key, pod] as const] : [];
    }),
  );
  const keyId = read.authority.signing.keyId ?? new Uint8Array();
  const report = holdersOf(keyId, [...shown.store.values()], running, { signers, now });
  return { report, pods: running };
}

function shownIn(request: Parameters<typeof issuedChain>[0]): ShownCertificate | undefined {
  const [leaf] = issuedChain(request);
  if (!leaf) return undefined;
  const { podName, podUID, signerName } = request.spec;
  return { namespace: request.metadata.namespace ?? '', pod: podName, podUID, signer: signerName, leaf };
}
