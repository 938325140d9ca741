import { ApiStatusError } from '../../signer/kube/api-error.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { type Check, type Finding, type Findings, unknown } from './check.ts';
import {
  admissionPolicy,
  apiServed,
  encryptionAtRest,
  featureGates,
  nodeRestriction,
} from './checks/api-server.ts';
import { bundleSelectors, signerNames, subPathMounts } from './checks/pods.ts';
import { refreshes } from './checks/refreshes.ts';
import { registrations } from './checks/registrations.ts';
import { clocks, replicas } from './checks/replicas.ts';
import { requests, unrequested } from './checks/requests.ts';
import { permissions, pools, roots, settings } from './checks/signer.ts';
import type { Facts } from './facts.ts';

/** In the order in which a person would look: from the API server over the signer to the pods. */
export const checks: Readonly<Record<string, Check>> = {
  ...{ api: apiServed, 'feature-gates': featureGates, 'node-restriction': nodeRestriction },
  ...{ 'admission-policy': admissionPolicy, 'encryption-at-rest': encryptionAtRest },
  ...{ settings, replicas, permissions, clock: clocks, pool: pools, roots, registrations },
  ...{ 'signer-names': signerNames, 'bundle-selectors': bundleSelectors, 'subpath-mounts': subPathMounts },
  ...{ kubelets: unrequested, requests, refreshes },
};

/** A finding, and the check that made it. */
export interface Row extends Finding {
  readonly check: string;
}

/** So many findings of a check are listed; the rest is counted. */
const mostRows = 10;

/**
 * Looks at everything. A fact that cannot be read makes the checks that need it unknown, and no others.
 *
 * @throws the first error when no check could read anything, as with an API server that is down.
 */
export async function examine(facts: Facts): Promise<Row[]> {
  const names = Object.keys(checks);
  const looks = await Promise.allSettled(Object.values(checks).map((look) => look(facts)));
  const failures = looks.filter((look) => look.status === 'rejected');
  if (failures.length === looks.length) throw failures[0]?.reason;
  return looks.flatMap((look, index) => {
    const findings = look.status === 'fulfilled' ? [look.value].flat() : [unreadable(look.reason)];
    return shortened(findings).map((finding) => ({ check: names[index] ?? '', ...finding }));
  });
}

/** How the API server refuses a forbidden call. The rest of its sentence names the right. */
const forbidden = /User ".*?" cannot (.*)$/s;

function unreadable(error: unknown): Finding {
  const message = messageOf(error);
  if (!(error instanceof ApiStatusError) || error.status !== 403) {
    const remedy = 'run the command again; if it stays, see `kubectl get --raw /readyz?verbose`';
    return unknown('-', message, remedy);
  }
  const right = forbidden.exec(message)?.[1] ?? message;
  const role = right.includes('"secrets"')
    ? 'only those who keep the CA should have it (Role kubespiffe-ca-operator): ask them to run `kubespiffe doctor`'
    : 'the ClusterRole kubespiffe-doctor and the Role kubespiffe-settings-viewer of manifests/base grant it';
  return unknown('-', `the right to ${right} is missing`, role);
}

/** Pods of one Deployment are alike: one row for all of which the same is wrong. */
function shortened(findings: readonly Finding[]): Finding[] {
  const alike = Map.groupBy(findings, ({ result, lookedAt, found, remedy }) =>
    JSON.stringify(result === 'ok' ? [lookedAt] : [result, found, remedy]),
  );
  const groups = [...alike.values()].flatMap(([first, ...others]): Findings => {
    if (!first || others.length === 0) return first ?? [];
    return { ...first, lookedAt: `${first.lookedAt} and ${others.length} more` };
  });
  const next = groups[mostRows];
  if (!next) return groups;
  const rest = groups.length - mostRows;
  return [
    ...groups.slice(0, mostRows),
    { ...next, lookedAt: `${rest} more`, found: `first: ${next.lookedAt}: ${next.found}` },
  ];
}
