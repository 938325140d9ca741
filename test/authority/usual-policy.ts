import type { RotationPolicy } from '../../signer/authority/rotation-policy.ts';

const day = 86_400;

/** A CA lives a year and signs for a third of it. Nothing is in preview. */
export const usualPolicy: RotationPolicy = {
  lifetimeSeconds: 365 * day,
  prepareAfterSeconds: 0,
  previewSeconds: 0,
  requiresVerification: false,
  activateAfterSeconds: 120 * day,
  jwtActivateAfterSeconds: 30 * day,
  retireAfterSeconds: 3_600,
};
