import type { KubespiffeError } from '../../spiffe/errors.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { blocksIn } from '../../spiffe/pki/pem.ts';
import type { JwtSource } from '../jwt-source.ts';
import { type BundleSource, mergeBundles, type TrustBundle, type TrustBundles } from '../trust-bundle.ts';
import type { X509Source } from '../x509-source.ts';
import type { ApiJwtBundle, ApiX509Svid, WorkloadSource, WorkloadState } from './state.ts';

/** One credential of the workload: a volume that kubelet keeps. */
export interface Credential {
  readonly source: X509Source;
  /** Unique; may be empty for one credential. */
  readonly hint: string;
}

export interface WorkloadSourceNeeds {
  /** The first one is the default. */
  readonly credentials: readonly [Credential, ...Credential[]];
  /** Further bundles: those of federated trust domains, and the JWT keys of the own one. */
  readonly bundles: readonly BundleSource[];
  /** Where the JWT-SVIDs of a credential come from. Undefined where the workload gets none. */
  readonly tokensOf: ((credential: X509Source) => Pick<JwtSource, 'get' | 'events'>) | undefined;
  readonly onProblem: (problem: KubespiffeError) => void;
}

/** Joins what kubelet wrote and what the token endpoint gives to what the Workload API delivers. */
export function createWorkloadSource(needs: WorkloadSourceNeeds): WorkloadSource {
  const { credentials, bundles, tokensOf, onProblem } = needs;
  const listeners = new Set<() => void>();
  let state = readState(credentials, bundles);
  const onUpdate = () => {
    state = readState(credentials, bundles);
    for (const listener of listeners) listener();
  };
  for (const { events } of [...credentials.map(({ source }) => source), ...bundles]) {
    events.on('update', onUpdate);
    events.on('problem', onProblem);
  }
  const jwtSources = tokensOf && credentials.map(({ source }) => tokensOf(source));
  for (const { events } of jwtSources ?? []) events.on('problem', onProblem);

  return {
    current: () => state,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ...(jwtSources && {
      async jwtSvids(audiences: readonly string[], wanted: string | undefined) {
        const asked = credentials
          .map(({ source, hint }, index) => ({ id: source.svid.id.uri, hint, jwt: jwtSources[index] }))
          .filter(({ id }) => wanted === undefined || id === wanted);
        const svids = await Promise.all(
          asked.map(async ({ hint, jwt }) => ({ svid: await jwt?.get(audiences), hint })),
        );
        return svids.flatMap(({ svid, hint }) =>
          svid ? [{ spiffeId: svid.id.uri, token: svid.token, hint }] : [],
        );
      },
    }),
  };
}

function readState(credentials: readonly Credential[], further: readonly BundleSource[]): WorkloadState {
  const sources = [...further, ...credentials.map(({ source }) => source)];
  const merged = mergeBundles(sources.map(({ bundles }) => bundles));
  const withRoots = [...merged].filter(([, { roots }]) => roots.length > 0);
  const withKeys = [...merged].filter(([, { jwtKeys }]) => jwtKeys.size > 0);
  return {
    svids: credentials.map(({ source, hint }) => apiSvidOf(source, hint, merged)),
    x509Bundles: new Map(withRoots.map(([name, bundle]) => [name, rootsOf(bundle)])),
    jwtBundles: new Map(withKeys.map(([name, bundle]) => [name, apiBundleOf(bundle)])),
  };
}

function apiSvidOf({ svid }: X509Source, hint: string, bundles: TrustBundles): ApiX509Svid {
  const { id, privateKey, chainPem } = svid;
  const bundle = bundles.get(id.trustDomain);
  return {
    spiffeId: id.uri,
    trustDomain: id.trustDomain,
    chain: blocksIn(chainPem),
    key: privateKey.export({ type: 'pkcs8', format: 'der' }),
    bundle: bundle ? rootsOf(bundle) : [],
    hint,
  };
}

const rootsOf = ({ roots }: TrustBundle): Uint8Array[] => roots.map(({ der }) => der);

/** A JWK set without `use`, which older clients refuse in a JWT bundle. */
function apiBundleOf({ jwtKeys }: TrustBundle): ApiJwtBundle {
  const keys = [...jwtKeys].map(([kid, key]) => ({ ...publicJwkOf(key), kid }));
  return { jwks: JSON.stringify({ keys }), keys: jwtKeys };
}
