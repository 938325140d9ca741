import type { RotationStep } from '../signer/authority/rotation.ts';
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
