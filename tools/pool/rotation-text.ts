import type { PoolDocument } from '../../signer/authority/document.ts';
import { isSigning, type Timing } from '../../signer/authority/ready.ts';
import { nextStep, type RotationStep } from '../../signer/authority/rotation.ts';
import { nextSignsFrom, type PolicyStep, policyStep } from '../../signer/authority/rotation-plan.ts';
import type { AuthorityKind } from '../../signer/authority/states.ts';
import type { PoolSigner } from '../cluster/pool-signer.ts';
import { span } from '../output.ts';
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

/**
 * What comes next for one kind: by the policy of the signer, and without its settings in the rotation that is under way.
 *
 * @param facts `now` in seconds since the epoch.
 */
export function describeNext(
  document: PoolDocument,
  kind: AuthorityKind,
  facts: { readonly now: number; readonly timing: Timing },
  signer: PoolSigner | undefined,
): string {
  const { now } = facts;
  if (!signer?.rotation) {
    const step = nextStep(document, kind, facts);
    if (step.kind === 'prepare' && isSigning(kind, document, now)) return 'no rotation is under way';
    return describeStep(step, now);
  }
  const { policy, isAutomatic } = signer.rotation;
  const planned = { now, timing: { ...facts.timing, ...signer.timing }, policy };
  const signsFrom = nextSignsFrom(document, kind, planned);
  return describePolicyStep(policyStep(document, kind, planned), now, { isAutomatic, signsFrom });
}

/** The next step by the policy of the signer. One that is made long before it is to sign is a reserve, and not urgent. */
function describePolicyStep(
  step: PolicyStep | undefined,
  now: number,
  { isAutomatic, signsFrom }: { readonly isAutomatic: boolean; readonly signsFrom: number },
): string {
  if (!step) return 'nothing to do';
  if (step.kind === 'blocked') return `${step.what}; ${step.remedy}`;
  if (step.kind !== 'wait') {
    const reserve =
      signsFrom > now ? ` in reserve, to sign from ${timeText(signsFrom)} (${span(signsFrom - now)})` : '';
    const what =
      step.kind === 'change' ? `${step.verb} authority ${step.id}` : `prepare a new authority${reserve}`;
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
