import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify } from '../../signer/identity/identify.ts';
import { onceRead } from '../../signer/identity/once-read.ts';
import type { Informer } from '../../signer/kube/informer.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { aPod } from '../issuance/examples.ts';

/** A resource that a signer follows, and that nothing was read of yet. */
function unread(name: string) {
  const state = { isMissing: false, isUnlisted: false };
  return {
    state,
    spec: { resource: { name } } as Informer<unknown>['spec'],
    store: createStore<unknown>({ time: realTime }),
    isMissing: () => state.isMissing,
    isUnlisted: () => state.isUnlisted,
  };
}

describe('the name of a pod in a signer that starts', () => {
  function setup() {
    const registrations = unread('workloadregistrations');
    const services = unread('services');
    const named = onceRead((pod) => identify(pod, { trustDomain: 'example.org' }), [registrations, services]);
    const pod = { namespace: 'shop', podName: 'web-0', podUID: 'pod-uid', serviceAccountName: 'web' };
    return {
      registrations,
      services,
      answer() {
        const identity = named(pod, aPod({}), {});
        return identity.ok ? identity.subject.display : `${identity.reason}: ${identity.detail}`;
      },
    };
  }
  const name = 'spiffe://example.org/ns/shop/sa/web';

  it('a pod has no name before all that names depend on is read, and the answer says what is missing', () => {
    const { registrations, services, answer } = setup();
    assert.equal(answer(), 'IdentityNotKnown: the signer has not read workloadregistrations, services yet');
    services.store.replace([]);
    assert.equal(answer(), 'IdentityNotKnown: the signer has not read workloadregistrations yet');
    registrations.store.replace([]);
    assert.equal(answer(), name);
  });

  it('a pod has a name where the API server serves no registrations', () => {
    const { registrations, services, answer } = setup();
    for (const { store } of [registrations, services]) store.replace([]);
    Object.assign(registrations.state, { isMissing: true, isUnlisted: true });
    assert.equal(answer(), name);
  });

  it('a pod has no name while registrations are served again and their first list has not come', () => {
    const { registrations, services, answer } = setup();
    for (const { store } of [registrations, services]) store.replace([]);
    Object.assign(registrations.state, { isMissing: false, isUnlisted: true });
    assert.equal(answer(), 'IdentityNotKnown: the signer has not read workloadregistrations yet');
    registrations.state.isUnlisted = false;
    assert.equal(answer(), name);
  });
});
