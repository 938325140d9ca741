import { isJsonObject } from '../../spiffe/json.ts';
import { type FollowedPolicy, policyName } from '../identity/registration-specs.ts';
import type { Informer } from '../kube/informer.ts';
import { ownRank } from '../kube/ranking.ts';
import { resourcePath } from '../kube/resources.ts';
import { pauseWith } from '../kube/time.ts';
import { createKeeper } from '../trust/keeper.ts';
import { fieldManager } from '../trust/trust-bundle-publisher.ts';
import type { Part } from './profile.ts';
import type { Shared } from './shared.ts';

/** How often it is looked for, in milliseconds: the CRD may be installed at any time. */
const lookEveryMs = 5_000;

/**
 * Keeps the ClusterRegistrationPolicy that the admission policies read. It is created without grants where it is missing:
 * without it they accept every registration, and `kubectl apply` cannot create it together with its CRD. Its status has
 * the trust domain of this signer, so that `kubectl apply` refuses another one.
 */
export function createRegistrationPolicy(
  { store, isMissing, spec: { resource } }: Informer<FollowedPolicy>,
  shared: Pick<Shared, 'transport' | 'membership' | 'config' | 'log' | 'time'>,
): Part {
  const { transport, membership, config, log, time } = shared;
  const [version] = resource.versions;
  const { trustDomain, registrationClass: className = '' } = config;

  function apply(name: string, part: object, isStatus: boolean, signal: AbortSignal) {
    const subresource = isStatus ? '/status' : '';
    return transport.request({
      method: 'PATCH',
      path: `${resourcePath(resource, version)}/${name}${subresource}`,
      // Each class of signers owns its entry of the status.
      query: isStatus
        ? { fieldManager: [fieldManager, className].filter(Boolean).join('-'), force: 'true' }
        : { fieldManager },
      contentType: 'application/apply-patch+yaml',
      body: {
        ...{ apiVersion: `${resource.group}/${version}`, kind: 'ClusterRegistrationPolicy' },
        ...{ metadata: { name }, ...part },
      },
      resource: `${resource.name}${subresource}`,
      discardBody: true,
      signal,
    });
  }

  const keeper = createKeeper(
    { ...shared, rankFor: ownRank(membership), takeoverDelayMs: config.takeoverDelayMs },
    {
      difference(name) {
        if (!store.isSynced() || isMissing()) return undefined;
        const policy = store.get(name);
        if (!policy) return 'it is missing';
        const found = trustDomainIn(policy.status, className);
        return found === trustDomain
          ? undefined
          : `its status has ${found ?? 'no trust domain'} for this signer`;
      },
      async repair(name, _drift, signal) {
        if (!store.get(name)) {
          // If another writer has created it meanwhile, this changes nothing.
          await apply(name, { spec: {} }, false, signal);
          log.info({ policy: name }, 'ClusterRegistrationPolicy created, without grants');
        }
        await apply(name, { status: { trustDomains: [{ className, trustDomain }] } }, true, signal);
        return undefined;
      },
      describe: (policy) => ({ policy }),
      concurrency: 1,
    },
  );
  return {
    async run(signal) {
      const keeping = keeper.run(signal);
      const pause = pauseWith(time.timer);
      while (!signal.aborted) {
        keeper.look(policyName);
        await pause(lookEveryMs, signal);
      }
      await keeping;
    },
  };
}

/** The trust domain of the signer of a class, by the status of the policy; undefined for none. */
function trustDomainIn(status: unknown, className: string): unknown {
  const { trustDomains } = isJsonObject(status) ? status : {};
  const entries: readonly unknown[] = Array.isArray(trustDomains) ? trustDomains : [];
  return entries.filter(isJsonObject).find((entry) => (entry.className ?? '') === className)?.trustDomain;
}
