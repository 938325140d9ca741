import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { Store } from '../kube/store.ts';
import type { Time } from '../kube/time.ts';
import type { Log } from '../observe/log.ts';
import { cannot } from '../observe/reasons.ts';
import {
  type AdmissionPolicy,
  type AdmissionPolicyBinding,
  admissionPolicyName,
  admissionPolicyProblem,
} from './admission-policy.ts';
import type { OpenRequest } from './request.ts';

/** API servers take a policy up within a second (policyRefreshInterval of k8s.io/apiserver), and times are whole seconds. */
const takesEffectMs = 3_000;
/** What the API server's clock is known to, so that a ready replica answers every request that is created from then on. */
const clockErrorMs = 500;
/** The API server sends a bookmark about every minute. After so long without one the policy may have been removed. */
const confirmedWithinMs = 300_000;

/** Who sees to it that only nodes create requests: our admission policy, or something that we do not know. */
export type RequestAdmission = 'policy' | 'external';

export interface GuardNeeds {
  readonly requestAdmission: RequestAdmission;
  readonly policies: Store<AdmissionPolicy>;
  readonly bindings: Store<AdmissionPolicyBinding>;
  /** Epoch milliseconds of the API server's clock; undefined before it is known. */
  readonly serverNow: () => number | undefined;
  readonly time: Time;
  readonly log: Log<'error' | 'warn' | 'info'>;
}

/**
 * Whether requests can be believed to come from nodes. Nothing in a request names its author, and what it says of its pod
 * is public: without the admission policy anyone who may create requests would get the certificate of any pod. A
 * request that was created before the policy took effect stays unbelievable for ever.
 */
export function createGuard(needs: GuardNeeds) {
  const { policies, bindings, log } = needs;
  const isExternal = needs.requestAdmission === 'external';
  const listeners: (() => void)[] = [];
  /** What policy and binding were last found to be; undefined before both have been looked for. */
  let found: { readonly problem: string | undefined; readonly versions: readonly Version[] } | undefined;
  /** Epoch milliseconds. */
  let inForceSinceMs = Number.POSITIVE_INFINITY;
  /** The policy was repaired, and the time is not known because the API server's clock is not. */
  let isRepairUndated = false;
  /** Requests that were created from then on have passed the policy. Whole seconds, as creation times are. */
  const effectiveMs = () => Math.ceil((inForceSinceMs + takesEffectMs) / 1000) * 1000;

  function look(): void {
    if (!policies.isSynced() || !bindings.isSynced()) return;
    const policy = policies.get(admissionPolicyName);
    const binding = bindings.get(admissionPolicyName);
    const before = found;
    const problem = admissionPolicyProblem(policy, binding);
    const versions = [versionOf(policy), versionOf(binding)];
    found = { problem, versions };
    const hasChanged = before === undefined || before.problem !== problem;
    if (problem === undefined) {
      const isRepaired = before !== undefined && (hasChanged || hasGap(before.versions, versions));
      const knownSince = before === undefined || hasChanged ? Number.NEGATIVE_INFINITY : inForceSinceMs;
      inForceSinceMs = Math.max(createdAt(policy), createdAt(binding), knownSince);
      // A policy that was changed back is older than its last repair.
      if (isRepaired) isRepairUndated = true;
      dateRepair();
      if (hasChanged) log.info({ policy: admissionPolicyName }, 'the admission policy is in force');
    } else {
      isRepairUndated = false;
      const level = isExternal ? 'warn' : 'error';
      if (hasChanged)
        log[level]({ policy: admissionPolicyName }, `the admission policy is not in force: ${problem}`);
    }
    for (const listener of listeners) listener();
  }

  /** A repair counts from now on, or from the moment when the clock is known. */
  function dateRepair(): void {
    const now = needs.serverNow();
    if (!isRepairUndated || now === undefined) return;
    inForceSinceMs = Math.max(inForceSinceMs, now);
    isRepairUndated = false;
  }

  policies.subscribe(look);
  bindings.subscribe(look);
  /** Resolves when policy and binding have been looked for. */
  const known: Promise<unknown> = Promise.all([policies.synced, bindings.synced]).then(look);

  /** Why the policy is not in force; undefined when it is. The same for every `requestAdmission`. */
  function problem(): string | undefined {
    if (!found) return 'the admission policy has not been read yet';
    if (found.problem !== undefined) return found.problem;
    dateRepair();
    if (isRepairUndated)
      return 'the admission policy was repaired while the clock of the API server is not known yet';
    const heard = Math.min(policies.lastContact(), bindings.lastContact());
    if (needs.time.monotonic() - heard > confirmedWithinMs) {
      return `the API server has not confirmed the admission policy for ${confirmedWithinMs / 60_000} min`;
    }
    return undefined;
  }

  return {
    problem,
    /** Why requests wait; undefined when those of now may be answered. */
    reason(): string | undefined {
      if (isExternal) return undefined;
      const why = problem();
      if (why !== undefined) return why;
      const now = needs.serverNow();
      if (now !== undefined && now >= effectiveMs() + clockErrorMs) return undefined;
      return 'the admission policy was created just now and takes effect within seconds';
    },
    /** Why this request may not be answered; undefined when it may. */
    refusal({ createdAtMs }: Pick<OpenRequest, 'createdAtMs'>) {
      if (isExternal) return undefined;
      const why = problem();
      if (why !== undefined) return cannot('RequestsUnguarded', why);
      if (createdAtMs >= effectiveMs()) return undefined;
      const detail = `created ${timeOf(createdAtMs)}, policy in force since ${timeOf(effectiveMs())}`;
      return cannot('CreatedUnguarded', detail);
    },
    known,
    /** Calls the listener when problem() may have changed. */
    onChange: (listener: () => void) => void listeners.push(listener),
  };
}

export type Guard = ReturnType<typeof createGuard>;

interface Version {
  readonly uid: string | undefined;
  /** Each change of the spec raises it by one. A new object has 1. */
  readonly generation: number;
}

function versionOf(object: AdmissionPolicy | AdmissionPolicyBinding | undefined): Version {
  return { uid: object?.metadata.uid, generation: object?.metadata.generation ?? 0 };
}

/** Whether the watch missed a change: the policy may have been weakened and restored meanwhile. */
function hasGap(before: readonly Version[], now: readonly Version[]): boolean {
  return now.some(({ uid, generation }, index) => {
    const last = before[index]?.uid === uid ? (before[index]?.generation ?? 0) : 0;
    return generation !== last && generation !== last + 1;
  });
}

function timeOf(ms: number): string {
  return Number.isFinite(ms) ? rfc3339(Math.floor(ms / 1000)) : 'at an unknown time';
}

function createdAt(object: AdmissionPolicy | AdmissionPolicyBinding | undefined): number {
  return Date.parse(object?.metadata.creationTimestamp ?? '') || Number.POSITIVE_INFINITY;
}
