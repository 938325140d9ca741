import { createJwtSource, type JwtSource } from '../jwt-source.ts';
import type { X509Source } from '../x509-source.ts';

/**
 * The JWT-SVIDs of a credential, from the token endpoint.
 *
 * @param tokenFile file of a ServiceAccount token. Without it, the credential proves itself by its certificate.
 */
export function tokensFromEndpoint(
  source: X509Source,
  needs: {
    readonly endpoint: URL;
    readonly tokenFile: string | undefined;
    readonly env: Readonly<Record<string, string | undefined>>;
  },
): JwtSource {
  const { endpoint, tokenFile, env } = needs;
  const [path, credential] =
    tokenFile === undefined
      ? ['/jwt-svid', { source }]
      : ['/token', { tokenFile, bundles: source, trustDomain: source.svid.id.trustDomain }];
  return createJwtSource({ endpoint: new URL(path, endpoint), credential, env });
}
