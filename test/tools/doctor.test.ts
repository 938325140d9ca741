import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { registrations } from '../../tools/doctor/checks/registrations.ts';
import { replicas } from '../../tools/doctor/checks/replicas.ts';
import type { Facts } from '../../tools/doctor/facts.ts';
import type { PodView, RegistrationView } from '../../tools/doctor/views.ts';

/** What a check reads, and nothing else. test/contract/doctor.test.ts has the real facts. */
const facts = (known: object) => known as unknown as Facts;

describe('the check registrations of kubespiffe doctor', () => {
  const registration = (name: string, reason: string): RegistrationView => ({
    kind: 'WorkloadRegistration',
    metadata: { name, namespace: 'shop' },
    status: {
      conditions: [{ type: 'Ready', status: 'True', reason, message: '', lastTransitionTime: '' }],
    },
  });
  const look = (...all: RegistrationView[]) =>
    registrations(facts({ hasRegistrations: async () => true, registrations: async () => all }));
  const none = 'none reports that something is wrong';

  it('the check registrations counts one registration as one', async () => {
    assert.deepEqual(await look(registration('web', 'NamesGiven')), [
      { lookedAt: '1 registration', result: 'ok', found: none },
    ]);
  });

  it('the check registrations names those that select no pod, but does not report a problem', async () => {
    const idle = ['chekout', 'a', 'b', 'c'].map((name) => registration(name, 'NoPods'));
    assert.deepEqual(await look(registration('web', 'NamesGiven'), ...idle), [
      { lookedAt: '5 registrations', result: 'ok', found: none },
      {
        lookedAt: '4 registrations without pods',
        result: 'ok',
        found:
          'no running pod is selected by ' +
          'WorkloadRegistration shop/chekout, WorkloadRegistration shop/a, WorkloadRegistration shop/b and 1 more',
      },
    ]);
  });
});

describe('the check replicas of kubespiffe doctor', () => {
  const pod = (namespace: string, component: string, waiting: object | undefined): PodView => ({
    metadata: { name: `${component}-1`, namespace, labels: { 'app.kubernetes.io/component': component } },
    status: { containerStatuses: [{ name: 'main', state: waiting ? { waiting } : {} }] },
  });
  const look = async (pods: () => Promise<readonly PodView[]>) => {
    const settings = async () => ({ config: { namespace: 'kubespiffe' } });
    const [finding] = [
      await replicas(facts({ settings, leases: async () => [], now: () => 0, pods })),
    ].flat();
    return finding?.found;
  };

  it('the check replicas reports why no replica runs if the container of a signer waits', async () => {
    const pull = { reason: 'ErrImagePull', message: 'not found' };
    const pods = [
      pod('other', 'signer', { reason: 'CrashLoopBackOff' }),
      pod('kubespiffe', 'view', { reason: 'CrashLoopBackOff' }),
      pod('kubespiffe', 'signer', pull),
    ];
    assert.equal(
      await look(async () => pods),
      'no replica of the signer runs: Pod kubespiffe/signer-1, container main: ErrImagePull: not found',
    );
  });

  it('the check replicas reports that none runs if the pods wait for nothing, or may not be read', async () => {
    const plain = 'no replica of the signer runs';
    assert.equal(await look(async () => [pod('kubespiffe', 'signer', undefined)]), plain);
    assert.equal(await look(() => Promise.reject(new Error('403'))), plain);
  });
});
