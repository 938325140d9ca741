import type { KubespiffeError } from '../../spiffe/errors.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { blocksIn } from '../../spiffe/pki/pem.ts';
import type { JwtSource } from '../jwt-source.ts';
import { type BundleSource, mergeBundles, type TrustBundle, type TrustBundles } from '../trust-bundle.ts';
import type { X509Source } from '../x509-source.ts';
import type { ApiJwtBundle, ApiJwtSvid, ApiX509Svid, WorkloadSource, WorkloadState } from './state.ts';

/** One credential of the workload: a volume that kubelet keeps. */
export interface Credential {
  readonly source: X509Source;
  /** Unique; may be empty for one credential. */
  readonly hint: string;
}

type Tokens = Pick<JwtSource, 'get' | 'events'>;

export interface WorkloadSourceNeeds {
  /** The first one is the default. */
  readonly credentials: readonly [Credential, ...Credential[]];
  /** Further bundles: those of federated trust domains, and the JWT keys of the own one. */
  readonly bundles: readonly BundleSource[];
  /**
   * Opens what gives the JWT-SVIDs of a credential: at the first request, and again when its certificate has another name. Undefined
   * where the workload gets none.
   */
  readonly tokensOf: ((credential: X509Source) => Tokens) | undefined;
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
  const identities =
    tokensOf && credentials.map((each) => ({ ...each, tokens: perName(each.source, tokensOf, onProblem) }));

  return {
    current: () => state,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ...(identities && {
      jwtSvids: (audiences: readonly string[], wanted: string | undefined) =>
        jwtSvidsOf(identities, audiences, wanted),
    }),
  };
}

/** Opens tokens again when the certificate has another name: those that are known have the old one. */
function perName(
  source: X509Source,
  open: (credential: X509Source) => Tokens,
  onProblem: (problem: KubespiffeError) => void,
): () => Tokens {
  let last: { readonly name: string; readonly tokens: Tokens } | undefined;
  return () => {
    const name = source.svid.id.uri;
    if (last?.name === name) return last.tokens;
    const tokens = open(source);
    tokens.events.on('problem', onProblem);
    last = { name, tokens };
    return tokens;
  };
}

type Identity = Credential & { readonly tokens: () => Tokens };

async function jwtSvidsOf(
  identities: readonly Identity[],
  audiences: readonly string[],
  wanted: string | undefined,
): Promise<ApiJwtSvid[]> {
  const ask = async (some: readonly Identity[] = []): Promise<ApiJwtSvid[]> =>
    Promise.all(
      some.map(async ({ tokens, hint }) => {
        const { id, token } = await tokens().get(audiences);
        return { spiffeId: id.uri, token, hint };
      }),
    );
  if (wanted === undefined) return ask(identities);
  const isWanted = ({ spiffeId }: ApiJwtSvid) => spiffeId === wanted;
  const { likely, others } = Object.groupBy(identities, ({ source }) =>
    source.svid.id.uri === wanted ? 'likely' : 'others',
  );
  // When a registration has changed, new tokens have the new name at once, but the certificate only after its renewal.
  const found = (await ask(likely)).filter(isWanted);
  return found.length > 0 ? found : (await ask(others)).filter(isWanted);
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
