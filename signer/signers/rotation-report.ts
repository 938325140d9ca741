import type { Change } from '../authority/change.ts';
import type { PolicyStep } from '../authority/rotation-plan.ts';
import { type AuthorityKind, isJwtKind, jwtKinds } from '../authority/states.ts';
import type { Time } from '../kube/time.ts';
import type { Audit } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { explainRotation, type RotationReason, rotationOutcomes } from '../observe/rotation-outcomes.ts';
import { type OwnPod, recordOnOwnPod } from './own-pod.ts';
import type { RotationProblem } from './rotation-condition.ts';

export interface RotationReportNeeds extends OwnPod {
  readonly signerName: string;
  readonly pool: { readonly namespace: string; readonly name: string };
  readonly rotation: { readonly isAutomatic: boolean };
  readonly metrics: Pick<Metrics, 'rotationStep' | 'rotationSteps'>;
  readonly audit: Audit;
  readonly time: Time;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/** A write takes a second or two, and a conflict passes. */
const passesWithinMs = 10_000;
/** So that an Event is visible as long as it is true; the API server keeps one for an hour. */
const repeatedAfterMs = 15 * 60_000;

interface Shown {
  /** Monotonic milliseconds. */
  readonly since: number;
  shownAt: number;
}

/** Shows a rotation: in a metric, the log, the audit stream, and Events on the signer's own pod. */
export function createRotationReport(needs: RotationReportNeeds) {
  const { metrics, log, time, signerName: signer } = needs;
  const pool = `${needs.pool.namespace}/${needs.pool.name}`;
  const shown = new Map<string, Shown>();
  /** Since when a step is due, by kind and step, in seconds since the epoch. */
  const dueSince = new Map<string, number>();

  function record(reason: RotationReason, detail: string): void {
    recordOnOwnPod(needs, {
      key: `${pool}/${reason}`,
      type: rotationOutcomes[reason].type,
      reason,
      action: 'Rotate',
      note: `Pool ${pool}: ${explainRotation(reason, detail)}`,
    });
  }

  /** Remembers since when each step is the next one. */
  function sinceOf(step: PolicyStep, kind: AuthorityKind): number {
    const id = JSON.stringify([kind, step]);
    const since = dueSince.get(id) ?? Math.floor(time.now() / 1000);
    dueSince.set(id, since);
    return since;
  }

  return {
    /** A step was written. */
    taken(kind: AuthorityKind, step: PolicyStep, changed: Change['changed']): void {
      const detail = changed.map(
        ({ id, from, to }) => `authority ${id} ${from ?? 'new'} -> ${to ?? 'removed'}`,
      );
      const message = explainRotation('RotationStepTaken', detail.join(', '));
      log.info({ pool, kind, step: nameOf(step) }, message);
      needs.audit({
        event: 'rotation',
        outcome: 'Changed',
        reason: 'RotationStepTaken',
        message,
        pool,
        changed,
      });
      metrics.rotationSteps.inc({ kind, step: nameOf(step), signer });
      record('RotationStepTaken', detail.join(', '));
    },
    refreshMetrics(steps: ReadonlyMap<AuthorityKind, PolicyStep>): void {
      for (const [kind, step] of steps) {
        const at = step.kind === 'wait' ? step.until : sinceOf(step, kind);
        metrics.rotationStep.set({ kind, step: nameOf(step), signer }, at);
      }
    },
    /**
     * Shows what is due, or prevents the next step. To be called about every second.
     *
     * @returns what has lasted long enough to be shown; undefined where nothing has, and something may soon, such as a step
     *   that is due and not taken yet.
     */
    show(
      steps: ReadonlyMap<AuthorityKind, PolicyStep>,
      state: {
        /** Says why the CA that signs ends too soon. */
        readonly endsSoon: () => string | undefined;
        /** Whether this replica is the one that writes Events. */
        readonly isFirst: boolean;
        /** Why the last write failed. */
        readonly writeProblem: string | undefined;
      },
    ): readonly RotationProblem[] | undefined {
      const next = new Set([...steps].map(([kind, step]) => JSON.stringify([kind, step])));
      for (const id of dueSince.keys()) if (!next.has(id)) dueSince.delete(id);
      for (const [kind, step] of steps) sinceOf(step, kind);
      const problems: [RotationReason, string | undefined][] = [
        ['RotationBlocked', blocked(steps) ?? (state.writeProblem || undefined)],
        ['RotationStepDue', needs.rotation.isAutomatic ? undefined : command(steps)],
        ['AuthorityEndsSoon', state.endsSoon()],
      ];
      const lasting: RotationProblem[] = [];
      const current = new Set<string>();
      const now = time.monotonic();
      for (const [reason, detail] of problems) {
        if (detail === undefined) continue;
        const id = `${reason} ${detail}`;
        current.add(id);
        const each = shown.get(id) ?? { since: now, shownAt: Number.NEGATIVE_INFINITY };
        shown.set(id, each);
        if (now - each.since < passesWithinMs) continue;
        const message = explainRotation(reason, detail);
        lasting.push({ reason, message });
        if (!state.isFirst || now - each.shownAt < repeatedAfterMs) continue;
        each.shownAt = now;
        log[rotationOutcomes[reason].type === 'Warning' ? 'warn' : 'info']({ pool, reason }, message);
        record(reason, detail);
      }
      for (const id of shown.keys()) if (!current.has(id)) shown.delete(id);
      const mayCome = current.size > 0 || command(steps) !== undefined;
      return lasting.length === 0 && mayCome ? undefined : lasting;
    },
  };
}

/** The name of a step: the verb of `kubespiffe ca` that takes it. */
function nameOf(step: PolicyStep): string {
  if (step.kind === 'change') return step.verb;
  return step.kind === 'wait' ? step.for : step.kind;
}

function blocked(steps: ReadonlyMap<AuthorityKind, PolicyStep>): string | undefined {
  const step = steps.values().find(({ kind }) => kind === 'blocked');
  return step?.kind === 'blocked' ? `${step.what}; ${step.remedy}` : undefined;
}

/** The command that takes the first step which is due. */
function command(steps: ReadonlyMap<AuthorityKind, PolicyStep>): string | undefined {
  for (const [kind, step] of steps) {
    const type = isJwtKind(kind) ? ` --type ${jwtKinds[kind].toLowerCase()}` : '';
    if (step.kind === 'prepare') return `\`kubespiffe ca prepare${type}\``;
    if (step.kind === 'change') return `\`kubespiffe ca ${step.verb} ${step.id}\``;
  }
  return undefined;
}
