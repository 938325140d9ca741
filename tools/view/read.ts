import { ApiStatusError } from '../../signer/kube/api-error.ts';
import { clusterTrustBundles } from '../../signer/kube/resources.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type ClusterTrustBundle, metadataFields, type Secret } from '../../signer/kube/types.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { getSecret } from '../api.ts';
import { type SignerEvent, signerEvents } from '../cluster/events.ts';
import { createListed } from '../cluster/lists.ts';
import { allLeases, liveReplicas } from '../cluster/replicas.ts';
import { requestsWith } from '../cluster/requests.ts';
import { readSignerSettings, type SettingsOptions } from '../cluster/signer-settings.ts';
import { createWorld, type KnownSigner, type World } from '../cluster/world.ts';
import { CliError } from '../errors.ts';
import type { ReadRequest } from '../explain/requests.ts';
import { type FederationReport, reportOn } from '../federation/report.ts';
import { readFederation } from '../federation/resources.ts';
import type { Terminal } from '../terminal.ts';

/** Something that was read, or why it may not be read. */
export type Part<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: string; readonly isForbidden?: true };

/** A pool, and the signers that sign with it. */
export interface PoolRead {
  readonly place: { readonly namespace: string; readonly name: string };
  readonly signers: readonly KnownSigner[];
  /** Undefined: there is no such Secret. */
  readonly secret: Part<Secret | undefined>;
}

/** A cluster at one moment, as its signers see it. */
export interface ClusterRead {
  /** Epoch seconds, by the clock of the API server. */
  readonly now: number;
  readonly world: World;
  readonly requests: readonly ReadRequest[];
  readonly events: readonly SignerEvent[];
  /** The ClusterTrustBundles of the signers. */
  readonly bundles: readonly ClusterTrustBundle[];
  readonly replicas: Part<readonly string[]>;
  readonly pools: readonly PoolRead[];
  readonly peers: Part<readonly FederationReport[]>;
}

/**
 * Reads what `status` and `ui` show. Pods, requests, Events, bundles and registrations are needed; a Secret, Leases or peers
 * that may not be read are left out with the reason.
 *
 * @param serverNow the clock of the API server, one for all reads.
 * @throws ApiStatusError, CliError
 */
export async function readCluster(
  api: Transport,
  terminal: Terminal,
  options: SettingsOptions,
  serverNow: () => number | undefined,
): Promise<ClusterRead> {
  const now = () => serverNow() ?? Math.floor(terminal.now() / 1000);
  const world = createWorld(await readSignerSettings(api, terminal, options));
  const names = new Set(world.signers.map(({ profile }) => profile.signerName));
  const requests = createListed(
    requestsWith<ReadRequest>((wire, version) =>
      names.has(wire.spec.signerName) ? { wire, version } : undefined,
    ),
  );
  const events = createListed(signerEvents);
  const bundles = createListed<ClusterTrustBundle, ClusterTrustBundle>({
    resource: clusterTrustBundles,
    fields: { metadata: { ...metadataFields, labels: true, annotations: true }, spec: true },
    project: (bundle) => (names.has(bundle.spec.signerName ?? '') ? bundle : undefined),
  });
  const leases = createListed(allLeases);
  const { namespace } = world.settings.config;
  const secretOf = ({ namespace, name }: PoolRead['place']) => partOf(() => getSecret(api, namespace, name));
  // Requests first: a request that is listed was made for a pod that was there before.
  await requests.fill(api);
  const [replicas, peers, pools] = await Promise.all([
    partOf(async () => {
      await leases.fill(api, namespace);
      return liveReplicas(leases.store.values(), namespace, now());
    }),
    partOf(async () => (await peersIn(api)).map((each) => reportOn(each, now()))),
    Promise.all(poolsOf(world).map(async (pool) => ({ ...pool, secret: await secretOf(pool.place) }))),
    ...[world, events, bundles].map((each) => each.fill(api)),
  ]);
  return {
    ...{ now: now(), world, requests: [...requests.store.values()], events: [...events.store.values()] },
    ...{ bundles: [...bundles.store.values()], replicas, pools, peers },
  };
}

function poolsOf({ signers }: World): Omit<PoolRead, 'secret'>[] {
  const groups = Map.groupBy(signers, ({ settings: { pool } }) => `${pool.namespace}/${pool.name}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    return first ? { place: first.settings.pool, signers: group } : [];
  });
}

/** A cluster without the resource has no peers. */
async function peersIn(api: Transport): ReturnType<typeof readFederation> {
  try {
    return await readFederation(api);
  } catch (error) {
    if (error instanceof CliError && error.code === 'API_NOT_SERVED') return [];
    throw error;
  }
}

async function partOf<T>(read: () => Promise<T>): Promise<Part<T>> {
  try {
    return { ok: true, value: await read() };
  } catch (error) {
    if (error instanceof ApiStatusError && error.status === 403)
      return { ok: false, why: messageOf(error), isForbidden: true };
    throw error;
  }
}
