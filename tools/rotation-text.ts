import type { RotationStep } from '../signer/authority/rotation.ts';
import type { PolicyStep } from '../signer/authority/rotation-plan.ts';
import { span } from './output.ts';
import { timeText } from './pool-change.ts';

/** A step of a rotation for people, at `now` in seconds since the epoch. */
export function describeStep(step: RotationStep, now: number): string {
  switch (step.kind) {
    case 'prepare':
      return 'prepare a new authority';
    case 'change':
      return `${step.verb} authority ${step.id}`;
    case 'wait': {
      const until = Number.isFinite(step.until) ? ` (${span(step.until - now)})` : '';
      const what =
        step.for === 'activate'
          ? `authority ${step.id} can sign from`
          : `authority ${step.id} is needed for what it signed, and can be retired from`;
      return `${what} ${timeText(step.until)}${until}`;
    }
  }
}

/** The next step by the policy of the signer, at `now` in seconds since the epoch. */
export function describePolicyStep(
  step: PolicyStep | undefined,
  now: number,
  { isAutomatic }: { readonly isAutomatic: boolean },
): string {
  if (!step) return 'nothing is to be done';
  if (step.kind === 'blocked') return `${step.what}; ${step.remedy}`;
  if (step.kind !== 'wait') {
    const what = step.kind === 'change' ? `${step.verb} authority ${step.id}` : 'prepare a new authority';
    return isAutomatic ? `${what}, which the signer does by itself` : what;
  }
  const whats: Readonly<Record<typeof step.for, string>> = {
    prepare: 'a new authority is due at',
    trust: `authority ${step.id} leaves the preview bundle at`,
    activate: `authority ${step.id} is to sign from`,
    retire: `authority ${step.id} can be retired from`,
    remove: `the entry of authority ${step.id} can be removed from`,
  };
  return `${whats[step.for]} ${timeText(step.until)} (${span(step.until - now)})`;
}
