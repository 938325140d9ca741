import { messageOf } from '../../spiffe/errors.ts';
import type { Log } from '../observe/log.ts';
import { ApiStatusError } from './api-error.ts';
import { createRecheck } from './recheck.ts';
import type { Time } from './time.ts';
import type { Transport } from './transport.ts';

/** A right at the API server, as ResourceAttributes of a SelfSubjectAccessReview name it. */
export interface Permission {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  /** The role that grants it, for people. */
  readonly grantedBy: string;
}

export interface PermissionsNeeds {
  readonly transport: Transport;
  /** Called before each check: the needed rights depend on what the API server serves. */
  readonly needed: () => readonly Permission[];
  readonly log: Log<'error' | 'warn' | 'info'>;
  readonly time: Time;
}

/** Metric label of the reviews. */
export const reviewResource = 'selfsubjectaccessreviews';
/** Interval while nothing is missing. A review costs the API server a lookup in its cache of roles. */
const recheckMs = 60_000;
const missingPolicy = { baseMs: 1_000, maxMs: 5_000 };
/** Forbidden calls come in bursts; they cause at most one check in this time. */
const leastGapMs = 1_000;

/**
 * Checks each needed right by a SelfSubjectAccessReview, which Kubernetes lets every authenticated user
 * create. A SelfSubjectRulesReview would be one call for all, but it is
 * incomplete wherever an authorizer cannot list its rules: the Node authorizer and webhooks cannot.
 */
export function createPermissions(needs: PermissionsNeeds) {
  const { transport, log } = needs;
  const listeners: (() => void)[] = [];
  let missing: readonly Permission[] | undefined;
  let lastProblem = 'not checked yet';

  async function look(signal: AbortSignal): Promise<void> {
    const needed = needs.needed();
    let found: readonly Permission[];
    try {
      const allowed = await Promise.all(needed.map((permission) => isAllowed(transport, permission, signal)));
      found = needed.filter((_, position) => !allowed[position]);
    } catch (error) {
      if (signal.aborted) return;
      const problem = messageOf(error);
      if (problem !== lastProblem) log.warn({ error: problem }, 'permissions could not be checked');
      lastProblem = problem;
      // A cluster may have removed system:basic-user. Then no right is known to be missing.
      if (error instanceof ApiStatusError && error.status === 403) missing = [];
      return changed();
    }
    lastProblem = '';
    if (describe(found) !== describe(missing ?? [])) {
      if (found.length > 0) log.error({ missing: found.map(nameOf) }, forbidden(found));
      else log.info({}, 'no permission is missing any more');
    }
    missing = found;
    changed();
  }

  function changed(): void {
    for (const listener of listeners) listener();
  }

  const recheck = createRecheck({
    ...needs,
    retryPolicy: missingPolicy,
    intervalMs: recheckMs,
    leastGapMs,
    async check(signal) {
      await look(signal);
      return lastProblem === '' && missing?.length === 0;
    },
  });

  return {
    /** The rights that are missing; undefined until the API server has answered for the first time. */
    missing: () => missing,
    /** Why the rights are not known to be complete; undefined when none is missing. */
    problem(): string | undefined {
      if (missing === undefined) return lastProblem;
      return missing.length > 0 ? forbidden(missing) : undefined;
    },
    /** Call it after a 403: the rights are checked again soon. */
    lookAgain: recheck.soon,
    onChange: (listener: () => void) => void listeners.push(listener),
    run: recheck.run,
  };
}

export type Permissions = ReturnType<typeof createPermissions>;

async function isAllowed(
  transport: Transport,
  { grantedBy: _, ...resourceAttributes }: Permission,
  signal: AbortSignal,
): Promise<boolean> {
  const { body } = await transport.request<{ status?: { allowed?: boolean } }>({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes },
    },
    resource: reviewResource,
    retry: 'safe',
    signal,
  });
  return body.status?.allowed === true;
}

/** `patch podcertificaterequests/status` */
function nameOf({ verb, resource, subresource }: Permission): string {
  return `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** `list pods, watch pods (ClusterRole kubespiffe-signer); …` */
function describe(permissions: readonly Permission[]): string {
  const byRole = Object.groupBy(permissions, ({ grantedBy }) => grantedBy);
  return Object.entries(byRole)
    .map(([role, ofRole = []]) => `${ofRole.map(nameOf).join(', ')} (${role})`)
    .join('; ');
}

function forbidden(permissions: readonly Permission[]): string {
  return (
    `the API server forbids: ${describe(permissions)}. ` +
    'Apply the roles and bindings of the manifests that this signer was installed with'
  );
}
