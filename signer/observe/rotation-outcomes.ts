/**
 * The table of outcomes of a rotation by policy. A row is what the Event on the signer's own pod, the log and the
 * documentation (docs/reference/outcomes.md has a heading for each code) have in common.
 */

interface RotationOutcome {
  readonly type: 'Normal' | 'Warning';
  /** What has happened or is wrong, and what to do; `{}` is replaced by the detail of the case. */
  readonly message: string;
}

export const rotationOutcomes = {
  RotationStepTaken: { type: 'Normal', message: 'The pool has changed: {}.' },
  RotationStepDue: {
    type: 'Normal',
    message: 'A step of the rotation is due: {}. With the setting rotation automatic the signer takes it.',
  },
  RotationBlocked: { type: 'Warning', message: 'The rotation cannot go on: {}.' },
  AuthorityEndsSoon: {
    type: 'Warning',
    message: 'The CA that signs ends soon ({}). Its certificates get shorter. Bring in the next CA.',
  },
} as const satisfies Record<string, RotationOutcome>;

export type RotationReason = keyof typeof rotationOutcomes;

/** What a person reads. */
export function explainRotation(reason: RotationReason, detail: string): string {
  return rotationOutcomes[reason].message.replace('{}', () => detail);
}
