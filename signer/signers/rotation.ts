import { messageOf } from '../../spiffe/errors.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type Change, type Refusal, refusal } from '../authority/change.ts';
import type { PoolDocument } from '../authority/document.ts';
import { compilePool, type Pool } from '../authority/pool.ts';
import { type PoolPlace, poolJsonIn } from '../authority/pool-secret.ts';
import { writePool } from '../authority/pool-writer.ts';
import { prepareAuthority } from '../authority/prepare.ts';
import { readPoolDocument } from '../authority/read-document.ts';
import type { Timing } from '../authority/ready.ts';
import { type PolicyStep, policySteps, rotatedKinds } from '../authority/rotation-plan.ts';
import { marginSeconds } from '../authority/rotation-policy.ts';
import { beginSignedUntil } from '../authority/signed-until-record.ts';
import type { AuthorityKind } from '../authority/states.ts';
import { writablePool } from '../authority/transitions.ts';
import { certManagerUpstream } from '../authority/upstream/cert-manager.ts';
import { takeUpstreamStep } from '../authority/upstream/prepare.ts';
import { applyVerb } from '../authority/verbs.ts';
import type { PoolView } from '../authority/view.ts';
import type { RotationConfig } from '../config/rotation.ts';
import type { ServerClock } from '../kube/clock.ts';
import type { Transport } from '../kube/transport.ts';
import type { Secret } from '../kube/types.ts';
import { createKeeper, type KeeperNeeds } from '../trust/keeper.ts';
import type { Part } from './profile.ts';
import type { RotationCondition } from './rotation-condition.ts';
import { createProof } from './rotation-proof.ts';
import { createRotationReport, type RotationReportNeeds } from './rotation-report.ts';

/** Where the roots of the pool are published. */
export interface PublishedRoots {
  /** SHA-256 of the roots that every live bundle shows; undefined where the API server serves no bundles. */
  inAll(): ReadonlySet<string> | undefined;
  /** The same of those that any live bundle shows. */
  inAny(): ReadonlySet<string> | undefined;
  /** The JWT keys of the pool that every live bundle shows, by `kid`. @param now seconds since the epoch. */
  keysInAll(now: number): ReadonlySet<string>;
  /**
   * Since when every live bundle shows the roots that were added to it, by SHA-256, and the JWT keys, by `kid`.
   *
   * @param now seconds since the epoch.
   */
  since(now: number): ReadonlyMap<string, number>;
  /** Whether all pods that select the bundle, or read the ConfigMaps, can get the root of an authority. */
  isVisible(root: Pool['roots'][number]): boolean;
}

export interface RotationNeeds extends KeeperNeeds, RotationReportNeeds {
  readonly pool: PoolPlace;
  readonly view: Pick<PoolView, 'current' | 'onChange'>;
  readonly rotation: RotationConfig;
  readonly timing: Timing;
  readonly published: PublishedRoots;
  readonly transport: Transport;
  readonly clock: ServerClock;
  readonly condition: Pick<RotationCondition, 'show'>;
}

export interface Rotation extends Part {
  /** Looks whether a step is due, and shows it. To be called about every second. */
  look(): void;
  refreshMetrics(): void;
}

/** The steps of all kinds, as the pool in our own view has them. */
interface Plan {
  readonly from: Pool;
  /** Seconds since the epoch. */
  readonly madeAt: number;
  readonly steps: Steps;
}

/** As policySteps gives them, for each kind. */
type Steps = ReadonlyMap<AuthorityKind, readonly PolicyStep[]>;

/** A look at the same pool costs nothing for so long, in seconds, unless a step is due before. */
const planForSeconds = 60;
const fieldManager = 'kubespiffe-rotation';

/**
 * Replaces the authorities of a pool by the policy of its signer. Every replica knows the next step. One of them takes it, as
 * one compare-and-swap write of the pool Secret. Nothing is remembered but what is in the pool, so a replica that dies
 * leaves nothing behind. Without `automatic`, the step is only shown.
 */
export function createRotation(needs: RotationNeeds): Rotation {
  const { view, rotation, timing, clock, transport } = needs;
  const { policy, isAutomatic, issuer } = rotation;
  const upstream = issuer && certManagerUpstream({ transport, namespace: needs.pool.namespace, issuer });
  const key = `${needs.pool.namespace}/${needs.pool.name}`;
  const report = createRotationReport(needs);
  const keeper = createKeeper(needs, {
    difference: () => dueIn(stepsNow())[0]?.text,
    repair,
    describe: () => ({ pool: key }),
    concurrency: 1,
  });
  let plan: Plan | undefined;
  const proof = createProof(needs, timing, () => {
    plan = undefined;
  });

  /** By the clock of the API server, in whole seconds. */
  function serverNow(): number | undefined {
    const ms = clock.serverMs();
    return ms === undefined ? undefined : Math.floor(ms / 1000);
  }

  function stepsNow(): Steps {
    const [pool, now] = [view.current(), serverNow()];
    if (!pool || now === undefined) return new Map();
    if (plan?.from !== pool || !isCurrent(plan, now)) {
      plan = { from: pool, madeAt: now, steps: stepsOf(pool.document, now) };
    }
    return plan.steps;
  }

  const timingAt = (now: number): Timing => ({ ...proof.timing(), shownSince: needs.published.since(now) });

  function stepsOf(document: PoolDocument, now: number): Steps {
    const facts = { now, timing: timingAt(now), policy };
    return new Map(rotatedKinds(document).map((kind) => [kind, policySteps(document, kind, facts)]));
  }

  /** @returns why nothing was written, or undefined. Throws what the transport throws. */
  async function repair(_key: string, _drift: string, signal: AbortSignal): Promise<string | undefined> {
    const secret = await readSecret(signal);
    // The answer has shown the clock of the API server, in case ours was set.
    const skew = clock.problem();
    const now = serverNow();
    if (skew !== undefined || now === undefined) return skew;
    const read = readPoolDocument(poolJsonIn(secret) ?? '');
    if (!read.ok) return read.problem.message;
    const { document } = read;
    await proof.read(document);
    let firstProblem: string | undefined;
    // A step that has to wait must not delay the others.
    for (const due of dueIn(stepsOf(document, now))) {
      const problem = await take(due, { secret, document, now, signal }).catch(messageOf);
      if (problem === undefined || signal.aborted) return problem;
      firstProblem ??= problem;
    }
    return firstProblem;
  }

  /** Takes one step. @returns why nothing was written, or undefined. Throws what the transport throws. */
  async function take(due: Due, attempt: Attempt): Promise<string | undefined> {
    const { secret, document, now, signal } = attempt;
    const change = await changeBy(due, attempt);
    if (!change.ok) return `${change.what}; ${change.remedy}`;
    if (change.consequence !== undefined) return change.consequence;
    const writable = writablePool(change.document, now);
    if (!writable.ok && writablePool(document, now).ok) return writable.problem.message;
    if (signal.aborted) return 'the replica ends';
    const record = { trustDomain: document.trustDomain, now, isNewPool: false };
    await beginSignedUntil(transport, needs.pool, change.made ?? [], record);
    await writePool(transport, needs.pool, secret, change.document, false, { fieldManager, signal });
    report.taken(due.kind, due.step, change.changed);
    return undefined;
  }

  async function readSecret(signal: AbortSignal): Promise<Secret> {
    const path = `/api/v1/namespaces/${needs.pool.namespace}/secrets/${needs.pool.name}`;
    return (await transport.request<Secret>({ method: 'GET', path, resource: 'secrets', signal })).body;
  }

  async function changeBy(
    { kind, step }: Due,
    { document, now, signal }: Attempt,
  ): Promise<Change | Refusal> {
    const { lifetimeSeconds } = policy;
    if (step.kind === 'prepare' && kind === 'X509' && upstream) {
      const { certificateSeconds } = timing;
      return takeUpstreamStep(upstream, document, { now, lifetimeSeconds, certificateSeconds }, signal);
    }
    if (step.kind === 'prepare') {
      return prepareAuthority(document, { kind, now, lifetimeSeconds });
    }
    const { verb, id } = step;
    const hidden = verb === 'activate' ? hiddenRoot(document, id) : undefined;
    if (hidden) return hidden;
    const published = verb === 'remove' ? needs.published.inAny() : needs.published.inAll();
    const publishedKeys = needs.published.keysInAll(now);
    return applyVerb(document, verb, id, { now, timing: timingAt(now), published, publishedKeys });
  }

  function hiddenRoot(document: PoolDocument, id: string): Refusal | undefined {
    const compiled = compilePool(document, document.trustDomain);
    const root = compiled.ok ? compiled.pool.authorities.find((each) => each.id === id)?.root : undefined;
    if (!root || needs.published.isVisible(root)) return undefined;
    return refusal(`the root of authority ${id} is not published yet`, 'wait until it is');
  }

  /** Why the CA that signs cannot give certificates of full length any more. */
  function endsSoon(): string | undefined {
    const [active, now] = [view.current()?.active, serverNow()];
    if (!active || now === undefined) return undefined;
    const end = Math.min(...[active.root, ...active.intermediates].map(({ notAfter }) => notAfter));
    const last = end - timing.certificateSeconds - marginSeconds;
    return now < last ? undefined : `authority ${active.id} ends at ${rfc3339(end)}`;
  }

  view.onChange(() => {
    if (isAutomatic) keeper.look(key);
  });

  return {
    look() {
      proof.keep(view.current()?.document);
      const steps = stepsNow();
      if (isAutomatic && dueIn(steps).length > 0) keeper.look(key);
      const isFirst = needs.rankFor(key) === 0;
      const writeProblem = isAutomatic ? keeper.problem(key) : undefined;
      const problems = report.show(firstOf(steps), { endsSoon, isFirst, writeProblem });
      // Without a pool or a clock nothing is known of what is due.
      if (problems && steps.size > 0) needs.condition.show(key, problems);
    },
    refreshMetrics: () => report.refreshMetrics(firstOf(stepsNow())),
    run: keeper.run,
  };
}

/** The pool as it was just read, and when. */
interface Attempt {
  readonly secret: Secret;
  readonly document: PoolDocument;
  readonly now: number;
  readonly signal: AbortSignal;
}

interface Due {
  readonly kind: AuthorityKind;
  readonly step: Extract<PolicyStep, { kind: 'prepare' | 'change' }>;
  readonly text: string;
}

/** The steps that a replica can take now, the most important one first. */
function dueIn(steps: Steps): readonly Due[] {
  return [...steps].flatMap(([kind, ofKind]) =>
    ofKind.flatMap((step): Due[] => {
      if (step.kind === 'prepare') return [{ kind, step, text: `the next ${kind} authority is to be made` }];
      if (step.kind === 'change') return [{ kind, step, text: `${step.verb} authority ${step.id}` }];
      return [];
    }),
  );
}

/** What is shown of each kind. */
function firstOf(steps: Steps): ReadonlyMap<AuthorityKind, PolicyStep> {
  return new Map([...steps].flatMap(([kind, [step]]) => (step ? [[kind, step] as const] : [])));
}

function isCurrent({ madeAt, steps }: Plan, now: number): boolean {
  const ends = [...steps.values()].flat().flatMap((step) => (step.kind === 'wait' ? [step.until] : []));
  return now >= madeAt && now < Math.min(madeAt + planForSeconds, ...ends);
}
