import { defaultJwtPropagation, jwtPropagationSeconds } from '../authority/may-sign.ts';
import type { RotationPolicy } from '../authority/rotation-policy.ts';
import type { CertManagerIssuer } from '../authority/upstream/upstream.ts';
import type { Timing } from '../authority/verbs.ts';
import type { EndpointConfig } from './endpoints.ts';
import type { ValuesOf } from './settings.ts';
import type { rotationSettings } from './signer-settings.ts';

/** When the authorities of a signer are replaced, and by whom. */
export interface RotationConfig {
  /** Whether a replica takes the steps, or only shows that they are due. */
  readonly isAutomatic: boolean;
  readonly policy: RotationPolicy;
  /** The issuer of cert-manager that signs the CAs of the pool; undefined where they are roots of their own. */
  readonly issuer: CertManagerIssuer | undefined;
}

/** The settings of a rotation; durations in milliseconds. */
export function resolveRotation(values: ValuesOf<typeof rotationSettings>): RotationConfig {
  const seconds = (ms: number) => Math.ceil(ms / 1000);
  return {
    isAutomatic: values.rotation === 'automatic',
    issuer: values.caIssuer,
    policy: {
      lifetimeSeconds: seconds(values.caLifetime),
      prepareAfterSeconds: seconds(values.caPrepareAfter),
      previewSeconds: seconds(values.caPreviewFor),
      requiresVerification: values.caPreviewVerified,
      hasUpstream: values.caIssuer !== undefined,
      activateAfterSeconds: seconds(values.caActivateAfter),
      jwtActivateAfterSeconds: seconds(values.jwtKeyActivateAfter),
      retireAfterSeconds: seconds(values.caRetireAfter),
    },
  };
}

/** How long things take for a signer with these settings. */
export function timingOf(
  signer: { readonly maxLifetimeSeconds: number; readonly rootPropagationSeconds: number },
  token: EndpointConfig['token'],
): Timing {
  return {
    certificateSeconds: signer.maxLifetimeSeconds,
    rootPropagationSeconds: signer.rootPropagationSeconds,
    jwtPropagationSeconds: token ? jwtPropagationOf(token) : jwtPropagationSeconds(defaultJwtPropagation),
  };
}

/** How long a JWT key must be published before it signs, with the settings of the token endpoint. */
export function jwtPropagationOf(token: NonNullable<EndpointConfig['token']>): number {
  return jwtPropagationSeconds({
    refreshHintSeconds: token.refreshHintSeconds,
    jwksMaxAgeSeconds: token.refreshHintSeconds,
    delaySeconds: token.propagationDelaySeconds,
  });
}
