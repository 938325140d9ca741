import type { SecureContext } from 'node:tls';
import type { AddressRule } from '../../client/address-rule.ts';
import { fetchIfChanged } from '../../client/bundle-endpoint.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { BundleOrigin } from './federated-trust-domain.ts';
import { maxForeignBytes } from './foreign-bundle.ts';

const timeoutMs = 30_000;
/** Only of the web, and only within the origin: a SPIFFE endpoint needs none (SPIFFE Federation 5.2.2.2). */
const maxWebRedirects = 3;

export interface Fetched {
  /** Undefined where the bundle is still the one of the ETag that was given. */
  readonly document: Uint8Array | undefined;
  readonly etag: string | undefined;
}

/**
 * Gets the document of a bundle, in at most 30 s and 1 MiB. Proxies of the environment are not used, since they would hide
 * which addresses are reached. Never throws.
 *
 * @param anchors for https_spiffe, the roots of the trust domain of the endpoint.
 */
export async function fetchBundle(
  origin: Extract<BundleOrigin, { kind: 'https_web' | 'https_spiffe' }>,
  needs: {
    readonly anchors: readonly CertificateFacts[];
    readonly etag: string | undefined;
    readonly addresses: AddressRule;
    /** Verifies https_web, by webContext. Left out: made for this fetch alone. */
    readonly secureContext?: SecureContext;
    readonly signal: AbortSignal;
  },
): Promise<Result<Fetched>> {
  const { url } = origin;
  const refused = needs.addresses.hostProblem(url);
  if (refused !== undefined) return failure(refused);
  const isWeb = origin.kind === 'https_web';
  const fetched = await fetchIfChanged({
    url,
    profile: isWeb
      ? {
          name: 'https_web',
          ...(origin.rootsPem !== undefined && { rootsPem: origin.rootsPem }),
          ...(needs.secureContext && { secureContext: needs.secureContext }),
        }
      : {
          name: 'https_spiffe',
          endpointId: origin.endpointId.uri,
          rootsPem: certificatesPem(needs.anchors),
        },
    maxRedirects: isWeb ? maxWebRedirects : 0,
    staysOnOrigin: true,
    maxBytes: maxForeignBytes,
    timeoutMs,
    etag: needs.etag,
    lookup: needs.addresses.lookup,
    signal: needs.signal,
    env: {},
  });
  if (!fetched.ok) return fetched;
  return success({ document: fetched.value.body, etag: fetched.value.etag });
}
