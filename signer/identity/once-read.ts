import type { Informer } from '../kube/informer.ts';
import { cannot } from '../observe/reasons.ts';
import type { Identify } from './identify.ts';

/** What an identity depends on besides the pod, such as registrations. */
type Followed = Pick<Informer<unknown>, 'spec' | 'store' | 'isMissing' | 'isUnlisted'>;

/**
 * Names no pod before everything is read that names depend on. A store that is not read yet is empty, and would be taken for
 * a cluster without registrations: pods would get the name of their ServiceAccount, and no limits. What the API server
 * does not serve counts as read.
 */
export function onceRead(identify: Identify, followed: readonly Followed[]): Identify {
  return (pod, facts, annotations) => {
    const unread = followed.filter((each) => !isRead(each)).map(({ spec }) => spec.resource.name);
    if (unread.length === 0) return identify(pod, facts, annotations);
    return cannot('IdentityNotKnown', `the signer has not read ${unread.join(', ')} yet`);
  };
}

/** A resource that is served again has an empty store until its first list comes. */
function isRead({ store, isMissing, isUnlisted }: Followed): boolean {
  return store.isSynced() && (isMissing() || !isUnlisted());
}
