import { defaultJwtPropagation, jwtPropagationSeconds } from '../authority/may-sign.ts';
import type { Timing } from '../authority/ready.ts';
import type { RotationPolicy } from '../authority/rotation-policy.ts';
import type { TokenConfig } from './endpoints.ts';
import type { ValuesOf } from './settings.ts';
import type { rotationSettings } from './signer-settings.ts';

/** When the authorities of a signer are replaced, and by whom. */
export type RotationConfig = ReturnType<typeof resolveRotation>;

/** The settings of a rotation; durations in milliseconds. */
export function resolveRotation(values: ValuesOf<typeof rotationSettings>) {
  const seconds = (ms: number) => Math.ceil(ms / 1000);
  const policy: RotationPolicy = {
    lifetimeSeconds: seconds(values.caLifetime),
    prepareAfterSeconds: seconds(values.caPrepareAfter),
    previewSeconds: seconds(values.caPreviewFor),
    requiresVerification: values.caPreviewVerified,
    hasUpstream: values.caIssuer !== undefined,
    activateAfterSeconds: seconds(values.caActivateAfter),
    jwtActivateAfterSeconds: seconds(values.jwtKeyActivateAfter),
    retireAfterSeconds: seconds(values.caRetireAfter),
  };
  return {
    /** Whether a replica takes the steps, or only shows that they are due. */
    isAutomatic: values.rotation === 'automatic',
    /** The issuer of cert-manager that signs the CAs of the pool; undefined where they are self-signed roots. */
    issuer: values.caIssuer,
    policy,
  };
}

/** How long things take for a signer with these settings. */
export function timingOf(
  signer: { readonly maxLifetimeSeconds: number; readonly rootPropagationSeconds: number },
  token: TokenConfig | undefined,
): Timing {
  return {
    certificateSeconds: signer.maxLifetimeSeconds,
    rootPropagationSeconds: signer.rootPropagationSeconds,
    jwtPropagationSeconds: token ? jwtPropagationOf(token) : jwtPropagationSeconds(defaultJwtPropagation),
  };
}

/** How long a JWT key must be published before it signs, with the settings of the token endpoint. */
export function jwtPropagationOf(token: TokenConfig): number {
  return jwtPropagationSeconds({
    refreshHintSeconds: token.refreshHintSeconds,
    jwksMaxAgeSeconds: token.refreshHintSeconds,
    delaySeconds: token.propagationDelaySeconds,
  });
}
