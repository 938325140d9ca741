import { ApiStatusError } from '../../signer/kube/api-error.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { type Check, type Finding, unknown } from './check.ts';
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
export const checks: readonly Check[] = [
  ...[apiServed, featureGates, nodeRestriction, admissionPolicy, encryptionAtRest],
  ...[settings, replicas, permissions, clocks, pools, roots, registrations],
  ...[signerNames, bundleSelectors, subPathMounts, unrequested, requests, refreshes],
];

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
export async function examine(facts: Facts, all: readonly Check[] = checks): Promise<Row[]> {
  const looks = await Promise.allSettled(all.map((check) => check.look(facts)));
  const failures = looks.filter((look) => look.status === 'rejected');
  if (failures.length === looks.length) throw failures[0]?.reason;
  return looks.flatMap((look, index) => {
    const findings = look.status === 'fulfilled' ? look.value : [unreadable(look.reason)];
    return shortened(findings).map((finding) => ({ check: all[index]?.name ?? '', ...finding }));
  });
}

/** How the API server refuses a forbidden call. The rest of its sentence names the right. */
const forbidden = /User ".*?" cannot (.*)$/s;

function unreadable(error: unknown): Finding {
  const message = messageOf(error);
  if (!(error instanceof ApiStatusError) || error.status !== 403) {
    return unknown(
      '-',
      message,
      'run the command again; if it stays, see `kubectl get --raw /readyz?verbose`',
    );
  }
  const right = forbidden.exec(message)?.[1] ?? message;
  const role = right.includes('"secrets"')
    ? 'only those who keep the CA should have it (Role kubespiffe-ca-operator): ask them to run `kubespiffe doctor`'
    : 'the ClusterRole kubespiffe-doctor and the Role kubespiffe-settings-viewer of manifests/base grant it';
  return unknown('-', `the right to ${right} is missing`, role);
}

/** Pods of one Deployment are alike: one row for all of which the same is wrong. */
function shortened(findings: readonly Finding[]): Finding[] {
  const groups = Object.values(
    Object.groupBy(findings, ({ result, lookedAt, found, remedy }) =>
      JSON.stringify(result === 'ok' ? [lookedAt] : [result, found, remedy]),
    ),
  ).flatMap((group = []) => {
    const [first] = group;
    if (!first) return [];
    return group.length === 1
      ? [first]
      : [{ ...first, lookedAt: `${first.lookedAt} and ${group.length - 1} more` }];
  });
  const [next] = groups.slice(mostRows);
  if (!next) return groups;
  const rest = groups.length - mostRows;
  return [
    ...groups.slice(0, mostRows),
    { ...next, lookedAt: `${rest} more`, found: `first: ${next.lookedAt}: ${next.found}` },
  ];
}
