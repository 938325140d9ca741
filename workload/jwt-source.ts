import { getJwtSvid, type IssuedToken, type PodCredential } from '../client/jwt-svid.ts';
import { encodePem } from '../spiffe/pki/pem.ts';
import type { SourceOptions } from './follow.ts';
import { cacheTokens, type JwtSource } from './jwt-cache.ts';
import { readPodToken } from './pod-proof.ts';
import type { BundleSource } from './trust-bundle.ts';
import type { X509Source } from './x509-source.ts';

export type { JwtSource, JwtSvid } from './jwt-cache.ts';

/** How the workload proves who it is: by its certificate, or by a projected ServiceAccount token. */
export type JwtCredential =
  | { readonly source: X509Source }
  | {
      /** File of the ServiceAccount token, which kubelet renews. */
      readonly tokenFile: string;
      /** What verifies the endpoint, and the trust domain that it belongs to. */
      readonly bundles: BundleSource;
      readonly trustDomain: string;
    };

export interface JwtSourceOptions extends Pick<SourceOptions, 'signal' | 'now'> {
  /** URL of the token endpoint: its path is `/jwt-svid` for a certificate and `/token` for a ServiceAccount token. */
  readonly endpoint: string | URL;
  readonly credential: JwtCredential;
  /** Where HTTPS_PROXY and NO_PROXY are looked for. Default: no proxy. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Makes a source of JWT-SVIDs from the token endpoint. There is one request at a time for each audience.
 *
 * @example
 * ```js
 * import { createJwtSource } from 'kubespiffe/jwt-source';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const tokens = createJwtSource({
 *   endpoint: 'https://kubespiffe-tokens.kubespiffe.svc/jwt-svid',
 *   credential: { source },
 * });
 * tokens.events.on('problem', (problem) => console.error(problem.message));
 * const answer = await tokens.get('https://api.example.org').catch((error) => error);
 * console.log(answer.token ? 'there is a token' : answer.message);
 * ```
 */
export function createJwtSource({ endpoint, credential, env = {}, ...options }: JwtSourceOptions): JwtSource {
  const url = new URL(endpoint);
  const ask = async (audience: string | readonly string[], signal: AbortSignal): Promise<IssuedToken> => {
    const trust = { ca: rootsOf(credential) };
    return getJwtSvid({ url, credential: await proofOf(credential), audience, trust, env, signal });
  };
  return cacheTokens(ask, url.host, options);
}

/** The roots of the endpoint's own trust domain: a federated one must not stand in for it. */
function rootsOf(credential: JwtCredential): string[] {
  const [source, trustDomain] =
    'source' in credential
      ? [credential.source, credential.source.svid.id.trustDomain]
      : [credential.bundles, credential.trustDomain];
  const roots = source.bundles.get(trustDomain)?.roots ?? [];
  return roots.map(({ der }) => encodePem('CERTIFICATE', der));
}

async function proofOf(credential: JwtCredential): Promise<PodCredential> {
  if ('tokenFile' in credential) return { subjectToken: await readPodToken(credential.tokenFile) };
  const { privateKey, chainPem } = credential.source.svid;
  return { credentialBundle: `${privateKey.export({ type: 'pkcs8', format: 'pem' })}${chainPem}` };
}
