import { type OwnAudiences, ownAudiences } from '../../spiffe/infrastructure.ts';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { ListenAddress } from '../observe/server.ts';
import type { SettingValues } from './settings.ts';

/** What listens to others, and what is common to all of it. */
export interface EndpointConfig {
  /** Of JWT-SVIDs and of the discovery document; there whenever there is a token endpoint. */
  readonly issuer: string | undefined;
  readonly refreshHintSeconds: number;
  /** DNS names of our own certificates. */
  readonly names: readonly string[];
  /** Requests a second. */
  readonly addressRate: number;
  readonly token: TokenConfig | undefined;
  readonly bundleWeb:
    | { readonly address: ListenAddress; readonly certificateFile: string; readonly keyFile: string }
    | undefined;
  readonly bundleSpiffe: { readonly address: ListenAddress } | undefined;
}

/** The token endpoint's configuration. */
export interface TokenConfig {
  readonly address: ListenAddress;
  /** What ServiceAccount tokens must be for. */
  readonly audiences: OwnAudiences;
  readonly serviceAccountIssuers: readonly string[];
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Whether a client certificate stands in for a ServiceAccount token. */
  readonly clientCertificates: boolean;
  readonly issuer: string;
  readonly lifetimeSeconds: number;
  readonly algorithm: JwtSigningAlgorithm;
  readonly rs256Audiences: readonly string[];
  /** Undefined: no such limit. */
  readonly allowedAudiences: readonly string[] | undefined;
  readonly maxAudiences: number;
  readonly propagationDelaySeconds: number;
  readonly refreshHintSeconds: number;
  readonly reviewCacheMs: number;
  /** Requests a second. */
  readonly podRate: number;
  /** Undefined: no certificates. */
  readonly x509: { readonly lifetimeSeconds: number } | undefined;
}

/** @param namespace where the signer runs, which the default names of its Service have. */
export function resolveEndpoints(values: SettingValues, namespace: string): EndpointConfig | undefined {
  const { bundleWebAddress, bundleWebCertificate, bundleWebKey, bundleSpiffeAddress } = values;
  const token = resolveToken(values);
  if (!token && !bundleWebAddress && !bundleSpiffeAddress) return undefined;
  const service = `kubespiffe-tokens.${namespace}.svc`;
  return {
    issuer: values.jwtIssuer,
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    names: values.tokenNames ?? [service, `${service}.cluster.local`],
    addressRate: values.tokenAddressRate,
    token,
    bundleWeb:
      bundleWebAddress && bundleWebCertificate !== undefined && bundleWebKey !== undefined
        ? { address: bundleWebAddress, certificateFile: bundleWebCertificate, keyFile: bundleWebKey }
        : undefined,
    bundleSpiffe: bundleSpiffeAddress && { address: bundleSpiffeAddress },
  };
}

function resolveToken(values: SettingValues): TokenConfig | undefined {
  const { tokenAddress, jwtIssuer } = values;
  if (!tokenAddress || !jwtIssuer) return undefined;
  return {
    address: tokenAddress,
    audiences: audiencesOf(values),
    serviceAccountIssuers: values.serviceAccountIssuers ?? [],
    minTlsVersion: `TLSv${values.tokenTls}`,
    clientCertificates: values.tokenClientCertificates,
    issuer: jwtIssuer,
    lifetimeSeconds: Math.floor(values.jwtLifetime / 1000),
    algorithm: values.jwtAlgorithm,
    rs256Audiences: values.jwtRs256Audiences ?? [],
    allowedAudiences: values.jwtAudiences,
    maxAudiences: values.jwtMaxAudiences,
    propagationDelaySeconds: Math.ceil(values.jwtPropagationDelay / 1000),
    refreshHintSeconds: Math.floor(values.tokenRefreshHint / 1000),
    reviewCacheMs: values.tokenReviewCache,
    podRate: values.tokenPodRate,
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
