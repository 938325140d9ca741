import { parseJwks } from '../../../spiffe/bundle.ts';
import { publicJwkOf } from '../../../spiffe/jwk.ts';
import { decodePem } from '../../../spiffe/pki/pem.ts';
import type {
  ApiJwtBundle,
  ApiX509Svid,
  WorkloadSource,
  WorkloadState,
} from '../../../workload/api/state.ts';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { ecKey, type TokenKey, tokenOf } from '../../spiffe/tokens.ts';
import { credentialsFor } from '../credentials.ts';

/** A trust domain with a CA and a key for tokens. */
export interface TestTrustDomain {
  readonly name: string;
  readonly ca: TestCa;
  readonly tokens: TokenKey;
}

export async function makeTrustDomain(name: string): Promise<TestTrustDomain> {
  return { name, ca: await makeCa({ trustDomain: name }), tokens: ecKey() };
}

/** An X509-SVID as the signer issues it. */
export async function issueSvid(domain: TestTrustDomain, path: string, hint = ''): Promise<ApiX509Svid> {
  const spiffeId = `spiffe://${domain.name}${path}`;
  const blocks = decodePem((await credentialsFor(spiffeId, domain.ca)).pem);
  if (!blocks.ok) throw new Error(blocks.reason);
  const [key, ...chain] = blocks.value.map(({ der }) => der);
  return {
    spiffeId,
    trustDomain: domain.name,
    chain,
    key: key ?? Buffer.alloc(0),
    bundle: [domain.ca.facts.der],
    hint,
  };
}

function jwtBundleOf({ tokens }: TestTrustDomain): ApiJwtBundle {
  const jwks = JSON.stringify({ keys: [{ ...publicJwkOf(tokens.publicKey), kid: tokens.kid }] });
  const read = parseJwks(jwks);
  if (!read.ok) throw new Error(read.reason);
  return { jwks, keys: read.value.jwtKeys };
}

export function stateOf(svids: readonly ApiX509Svid[], domains: readonly TestTrustDomain[]): WorkloadState {
  return {
    svids,
    x509Bundles: new Map(domains.map(({ name, ca }) => [name, [ca.facts.der]])),
    jwtBundles: new Map(domains.map((domain) => [domain.name, jwtBundleOf(domain)])),
  };
}

export function jwtSvid(
  { tokens }: TestTrustDomain,
  claims: { readonly sub: string; readonly aud: readonly string[] } & Readonly<Record<string, unknown>>,
): string {
  const now = Math.floor(Date.now() / 1000);
  return tokenOf(
    tokens,
    { alg: 'ES256', kid: tokens.kid, typ: 'JWT' },
    { iat: now - 10, exp: now + 300, ...claims },
  );
}

/** A workload whose state is set by the test; its tokens are real. */
export function createWorkload(domain: TestTrustDomain, first?: WorkloadState) {
  let state = first;
  const listeners = new Set<() => void>();
  const source: WorkloadSource = {
    current: () => state,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    jwtSvids: async (audiences, wanted) =>
      (state?.svids ?? [])
        .filter(({ spiffeId }) => wanted === undefined || spiffeId === wanted)
        .map(({ spiffeId, hint }) => ({
          spiffeId,
          hint,
          token: jwtSvid(domain, { sub: spiffeId, aud: audiences }),
        })),
  };
  return {
    source,
    listening: () => listeners.size,
    become(next: WorkloadState | undefined) {
      state = next;
      for (const listener of listeners) listener();
    },
  };
}
