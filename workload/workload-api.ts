import { type EndpointAddress, parseEndpointAddress } from '../client/endpoint-address.ts';
import {
  apiError,
  fetchJwtBundles,
  fetchJwtSvids,
  fetchX509Bundles,
  fetchX509Svid,
  type ReceivedBundles,
  type ReceivedX509,
} from '../client/workload-api.ts';
import { parseJwks } from '../spiffe/bundle.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { parseTrustDomain } from '../spiffe/trust-domain.ts';
import { type BundleText, bundleSourceOf, createBundleReader } from './bundle-reader.ts';
import type { Reading } from './follow.ts';
import { followApi, type WorkloadApiOptions } from './follow-api.ts';
import { cacheTokens, type JwtSource } from './jwt-cache.ts';
import type { BundleReading, BundleSource, TrustBundles } from './trust-bundle.ts';
import { createX509Reader, type X509Material, type X509Source, x509SourceOf } from './x509-reader.ts';

/** Which identity is used, where the workload has several. */
export interface IdentityOptions {
  /** The hint of the identity, which its operator has chosen. Default: the first one. */
  readonly hint?: string;
}

/**
 * Gets the certificate of this workload, and what verifies its peers, from a Workload API, and follows them.
 *
 * @param socket the address, `unix:///path` or `tcp://IP:port`: the value of SPIFFE_ENDPOINT_SOCKET.
 *
 * @example
 * ```js
 * import { connectX509Source } from 'kubespiffe/workload-api';
 *
 * await using source = await connectX509Source(process.env.SPIFFE_ENDPOINT_SOCKET);
 * console.log(`this is ${source.svid.id.uri}`);
 * source.events.on('update', () => console.log(`valid until ${new Date(source.svid.notAfter * 1000)}`));
 * source.events.on('problem', (problem) => console.error(problem.message));
 * ```
 *
 * @throws KubespiffeError WORKLOAD_API_UNAVAILABLE, SVID_INVALID or BUNDLE_INVALID, if there is nothing that can be used
 *   before the timeout.
 */
export async function connectX509Source(
  socket: string | undefined,
  options: WorkloadApiOptions & IdentityOptions = {},
): Promise<X509Source> {
  const address = addressOf(socket);
  const { hint, now = Date.now } = options;
  const join = createBundleReader();
  const readOwn = createX509Reader({
    credentials: `the X509-SVID at ${address.uri}`,
    roots: `the trust bundle at ${address.uri}`,
    now: () => Math.floor(now() / 1000),
  });
  const read = ([latest]: readonly (ReceivedX509 | undefined)[], last: X509Material | undefined) => {
    if (!latest) return { value: undefined, problems: [] };
    const svid = svidWith(hint, latest.svids);
    return readOwn(
      last,
      svid.ok ? svid.value.credentialsPem : svid,
      join(textsOf(bundlesOf(latest), address)),
    );
  };
  return x509SourceOf(await followApi(address, [fetchX509Svid], read, options));
}

/**
 * Gets the bundles of all trust domains that this workload is to trust from a Workload API, with the keys that verify JWT-SVIDs,
 * and follows them. A Workload API that gives no JWT keys, or these alone, is no problem.
 *
 * @param socket the address, `unix:///path` or `tcp://IP:port`: the value of SPIFFE_ENDPOINT_SOCKET.
 *
 * @example
 * ```js
 * import { connectBundleSource } from 'kubespiffe/workload-api';
 *
 * await using bundles = await connectBundleSource(process.env.SPIFFE_ENDPOINT_SOCKET);
 * for (const [trustDomain, { roots, jwtKeys }] of bundles.bundles) {
 *   console.log(`${trustDomain}: ${roots.length} roots, ${jwtKeys.size} JWT keys`);
 * }
 * ```
 *
 * @throws KubespiffeError WORKLOAD_API_UNAVAILABLE if there is no bundle before the timeout.
 */
export async function connectBundleSource(
  socket: string | undefined,
  options: WorkloadApiOptions = {},
): Promise<BundleSource> {
  const address = addressOf(socket);
  const join = createBundleReader();
  const read = ([x509, jwt]: readonly (ReceivedBundles | undefined)[]): Reading<TrustBundles> => {
    const { bundles, problems } = join([
      ...textsOf(x509 ?? new Map(), address),
      ...textsOf(jwt ?? new Map(), address, parseJwtBundle),
    ]);
    return { value: bundles.size > 0 || x509 || jwt ? bundles : undefined, problems };
  };
  return bundleSourceOf(await followApi(address, [fetchX509Bundles, fetchJwtBundles], read, options));
}

/**
 * Makes a source of JWT-SVIDs from a Workload API. There is one call at a time for each audience.
 *
 * @param socket the address, `unix:///path` or `tcp://IP:port`: the value of SPIFFE_ENDPOINT_SOCKET.
 *
 * @example
 * ```js
 * import { connectJwtSource } from 'kubespiffe/workload-api';
 *
 * await using tokens = connectJwtSource(process.env.SPIFFE_ENDPOINT_SOCKET);
 * tokens.events.on('problem', (problem) => console.error(problem.message));
 * const { id, expiresAt } = await tokens.get('https://api.example.org');
 * console.log(`a token of ${id.uri} until ${new Date(expiresAt * 1000)}`);
 * ```
 *
 * @throws KubespiffeError WORKLOAD_API_UNAVAILABLE for an address that cannot be used.
 */
export function connectJwtSource(
  socket: string | undefined,
  options: IdentityOptions & Pick<WorkloadApiOptions, 'signal' | 'now' | 'timeoutMs'> = {},
): JwtSource {
  const { hint, timeoutMs = 30_000 } = options;
  const address = addressOf(socket);
  const ask = async (audience: string | readonly string[], ended: AbortSignal) => {
    const signal = AbortSignal.any([ended, AbortSignal.timeout(timeoutMs)]);
    const received = await fetchJwtSvids(address, [audience].flat(), signal);
    const svid = svidWith(hint, received);
    if (svid.ok) return { token: svid.value.token };
    throw apiError(`FetchJWTSVID at ${address.uri}: ${svid.reason}`);
  };
  return cacheTokens(ask, address.uri, options);
}

/** @throws KubespiffeError WORKLOAD_API_UNAVAILABLE */
function addressOf(socket: string | undefined): EndpointAddress {
  if (socket === undefined || socket === '') {
    throw apiError('there is no address of a Workload API; set SPIFFE_ENDPOINT_SOCKET and pass its value');
  }
  const address = parseEndpointAddress(socket);
  if (address.ok) return address.value;
  throw apiError(
    `the address ${JSON.stringify(socket)} of the Workload API cannot be used: ${address.reason}`,
  );
}

/** The identity with a hint, or else the default one (SPIFFE Workload API 5.2.1). */
function svidWith<T extends { readonly hint: string }>(
  hint: string | undefined,
  all: readonly T[],
): Result<T> {
  const found = hint === undefined ? all[0] : all.find((one) => one.hint === hint);
  if (found) return success(found);
  const hints = all.map((one) => JSON.stringify(one.hint)).join(', ');
  return failure(
    all.length === 0
      ? 'it has no identity'
      : `no identity has the hint ${JSON.stringify(hint)}, only ${hints}`,
  );
}

/** The bundle of an own trust domain comes with its SVID. A federated one of the same name does not replace it. */
function bundlesOf({ svids, federated }: ReceivedX509): ReceivedBundles {
  const own = svids.map(({ spiffeId, rootsPem }) => {
    const id = parseSpiffeId(spiffeId);
    return [id.ok ? id.value.trustDomain : spiffeId, rootsPem] as const;
  });
  return new Map([...federated, ...own]);
}

function textsOf(
  received: ReceivedBundles,
  { uri }: EndpointAddress,
  parse?: BundleText['parse'],
): BundleText[] {
  return [...received].map(([trustDomain, text]) => {
    const name = parseTrustDomain(trustDomain);
    const kind = parse ? 'JWT bundle' : 'trust bundle';
    const place = `the ${kind} of ${trustDomain} at ${uri}`;
    return { trustDomain, place, text: name.ok ? text : name, ...(parse && { parse }) };
  });
}

function parseJwtBundle(text: string, trustDomain: string): Result<BundleReading> {
  const read = parseJwks(text);
  if (!read.ok) return read;
  const { jwtKeys, ignored } = read.value;
  return success({ bundles: new Map([[trustDomain, { roots: [], jwtKeys }]]), leftOut: ignored });
}
