import { type OwnAudiences, ownAudiences } from '../../spiffe/infrastructure.ts';
import type { SettingValues } from './settings.ts';

/** What listens to others, and what is common to all of it. */
export type EndpointConfig = NonNullable<ReturnType<typeof resolveEndpoints>>;

/** The token endpoint's configuration. */
export type TokenConfig = NonNullable<ReturnType<typeof resolveToken>>;

/** @param namespace where the signer runs, which the default names of its Service have. */
export function resolveEndpoints(values: SettingValues, namespace: string) {
  const { bundleWebAddress, bundleWebCertificate, bundleWebKey, bundleSpiffeAddress } = values;
  const token = resolveToken(values);
  if (!token && !bundleWebAddress && !bundleSpiffeAddress) return undefined;
  const service = `kubespiffe-tokens.${namespace}.svc`;
  return {
    /** Issuer of JWT-SVIDs and of the discovery document; defined whenever there is a token endpoint. */
    issuer: values.jwtIssuer,
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    /** DNS names of our own certificates. */
    names: values.tokenNames ?? [service, `${service}.cluster.local`],
    /** Requests a second. */
    addressRate: values.tokenAddressRate,
    token,
    bundleWeb:
      bundleWebAddress && bundleWebCertificate !== undefined && bundleWebKey !== undefined
        ? { address: bundleWebAddress, certificateFile: bundleWebCertificate, keyFile: bundleWebKey }
        : undefined,
    bundleSpiffe: bundleSpiffeAddress && { address: bundleSpiffeAddress },
  };
}

function resolveToken(values: SettingValues) {
  const { tokenAddress, jwtIssuer } = values;
  if (!tokenAddress || !jwtIssuer) return undefined;
  return {
    address: tokenAddress,
    /** What ServiceAccount tokens must be for. */
    audiences: audiencesOf(values),
    serviceAccountIssuers: values.serviceAccountIssuers ?? [],
    minTlsVersion: `TLSv${values.tokenTls}` as const,
    /** Whether a client certificate is accepted instead of a ServiceAccount token. */
    clientCertificates: values.tokenClientCertificates,
    issuer: jwtIssuer,
    lifetimeSeconds: Math.floor(values.jwtLifetime / 1000),
    algorithm: values.jwtAlgorithm,
    rs256Audiences: values.jwtRs256Audiences ?? [],
    /** Undefined: no such limit. */
    allowedAudiences: values.jwtAudiences,
    maxAudiences: values.jwtMaxAudiences,
    propagationDelaySeconds: Math.ceil(values.jwtPropagationDelay / 1000),
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    reviewCacheMs: values.tokenReviewCache,
    /** Requests a second. */
    podRate: values.tokenPodRate,
    /** Undefined: no certificates. */
    x509: values.x509Svid ? { lifetimeSeconds: Math.floor(values.x509Lifetime / 1000) } : undefined,
  };
}

function audiencesOf({ trustDomain, tokenAudience, x509Audience }: SettingValues): OwnAudiences {
  return ownAudiences(trustDomain, { token: tokenAudience, x509: x509Audience });
}

/**
 * Why the audiences, defaults included, cannot be as they are, or undefined. A receiver of a ServiceAccount token for the
 * one kind of SVID must not get the other with it. What the API server has to say about them shows when it is asked.
 */
export function audienceClash(values: SettingValues): string | undefined {
  // Where the trust domain is wrong, that is said already.
  if (!values.tokenAddress || values.trustDomain === undefined) return undefined;
  const { token, x509 } = audiencesOf(values);
  if (token !== x509) return undefined;
  return `"${x509}" is tokenAudience and x509Audience, so a token for JWT-SVIDs would get certificates too; set one of them to another value`;
}
