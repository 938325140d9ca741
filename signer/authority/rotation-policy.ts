import type { Timing } from './ready.ts';

/** When authorities are replaced. All members are in seconds. */
export interface RotationPolicy {
  /** Lifetime of the CAs that are made. */
  readonly lifetimeSeconds: number;
  /** The next CA is made so long after the active one began to sign. */
  readonly prepareAfterSeconds: number;
  /** How long a new root is in the preview bundle alone; 0 for not at all. */
  readonly previewSeconds: number;
  /** Whether a root leaves the preview bundle only after `kubespiffe ca verify-preview`. */
  readonly requiresVerification: boolean;
  /** The next CA becomes active so long after the active one began to sign. */
  readonly activateAfterSeconds: number;
  /** The same for JWT keys. */
  readonly jwtActivateAfterSeconds: number;
  /** Whether another CA signs the CAs of the pool, and is asked for the next one. */
  readonly hasUpstream?: boolean;
  /** How long an authority stays published after everything that it signed has ended. */
  readonly retireAfterSeconds: number;
}

/** A certificate must not outlive its CA, and a rotation that fails must be noticed in time. */
export const marginSeconds = 86_400;

/** What is wrong with a policy, with the settings to change; undefined for nothing. */
export interface PolicyProblem {
  readonly setting: 'caLifetime' | 'caActivateAfter' | 'jwtKeyActivateAfter';
  readonly message: string;
}

/** Checks that no CA has to sign a certificate that would outlive it, and that each step has the time that it takes. */
export function policyProblem(policy: RotationPolicy, timing: Timing): PolicyProblem | undefined {
  const { prepareAfterSeconds, previewSeconds, activateAfterSeconds, jwtActivateAfterSeconds } = policy;
  const lead = prepareAfterSeconds + previewSeconds + timing.rootPropagationSeconds;
  if (activateAfterSeconds < lead) {
    const parts = `caPrepareAfter ${text(prepareAfterSeconds)}, caPreviewFor ${text(previewSeconds)} and the propagation delay ${text(timing.rootPropagationSeconds)}`;
    const message = `is ${text(activateAfterSeconds)}, less than ${parts} together; set it to at least ${text(lead)}`;
    return { setting: 'caActivateAfter', message };
  }
  const waits = activateAfterSeconds - prepareAfterSeconds;
  const least = waits + activateAfterSeconds + timing.certificateSeconds + marginSeconds;
  if (policy.lifetimeSeconds < least) {
    const message =
      `is ${text(policy.lifetimeSeconds)}, and a CA needs ${text(least)}: up to ${text(waits)} in reserve, ${text(activateAfterSeconds)} as ` +
      `the one that signs (caActivateAfter), ${text(timing.certificateSeconds)} for its last certificate (maxLifetime), and a ` +
      `margin of ${text(marginSeconds)}; set it to at least ${text(least)}, or caActivateAfter to less`;
    return { setting: 'caLifetime', message };
  }
  if (jwtActivateAfterSeconds >= timing.jwtPropagationSeconds) return undefined;
  const message =
    `is ${text(jwtActivateAfterSeconds)}, less than the ${text(timing.jwtPropagationSeconds)} for which a new JWT key must be published ` +
    `before it signs; set it to at least ${text(timing.jwtPropagationSeconds)}`;
  return { setting: 'jwtKeyActivateAfter', message };
}

/** A duration as a setting has it. */
function text(seconds: number): string {
  const units = { d: 86_400, h: 3_600, m: 60 } as const;
  const [unit, size] = Object.entries(units).find(([, each]) => seconds > 0 && seconds % each === 0) ?? [
    's',
    1,
  ];
  return `${seconds / size}${unit}`;
}
