import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createServices } from '../../signer/identity/services.ts';
import type { RecordedEvent } from '../../signer/kube/event-backlog.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { ranking } from '../../signer/kube/ranking.ts';
import { type ServiceFacts, toServiceFacts } from '../../signer/kube/services.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Service } from '../../signer/kube/types.ts';
import { createLackingNames } from '../../signer/signers/lacking-names.ts';
import { aPod } from '../issuance/examples.ts';

const signerName = 'kubespiffe.io/service-dns';
const source = (services?: string) => ({
  signerName,
  userAnnotations: services === undefined ? {} : { 'kubespiffe.io/services': services },
});

function service(spec: Service['spec']): ServiceFacts {
  const facts = toServiceFacts({ metadata: { name: 'any' }, ...(spec && { spec }) });
  assert.ok(facts);
  return facts;
}

const ofWeb = service({ selector: { app: 'web' } });

/** A cluster with the Service web and a running pod that it selects. */
function setup({ pod = {}, replicas = ['signer-a'] }: { pod?: Partial<PodFacts>; replicas?: string[] } = {}) {
  const pods = createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } });
  const services = createStore<ServiceFacts>({ time: realTime });
  const recorded: RecordedEvent[] = [];
  const stopping = new AbortController();
  for (const self of replicas) {
    const part = createLackingNames({
      ...{ signerName, pods, services, index: createServices(services), domains: ['svc.cluster.local'] },
      refreshSeconds: 43_200,
      membership: { self, members: () => replicas },
      events: { record: (event) => recorded.push(event) },
    });
    void part.run(stopping.signal);
  }
  const facts = aPod({ labels: { app: 'web' }, certificateSources: [source()], isRunning: true, ...pod });
  pods.set('shop/web-0', facts);
  services.replace([['shop/web', ofWeb]]);
  const notes = () => recorded.map(({ note }) => note);
  return { pods, services, recorded, notes, facts, stopping };
}

describe('a certificate that lacks a name', () => {
  it('a missing name is reported on the pod when another Service selects it, with the name and when it comes', () => {
    const { services, recorded } = setup();
    services.set('shop/www', ofWeb);
    assert.deepEqual(recorded, [
      {
        key: `pod-uid/${signerName}/www`,
        regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name: 'web-0', uid: 'pod-uid' },
        type: 'Warning',
        reason: 'CertificateLacksNames',
        action: 'Refresh',
        note:
          'The certificate of kubespiffe.io/service-dns lacks www.shop.svc, www.shop.svc.cluster.local: Service www changed ' +
          'after it was issued. The next certificate has the name, within 12 h; recreate the pod to get it now.',
      },
    ]);
  });

  it('a missing name is reported when labels of the pod change so that another Service selects it', () => {
    const { pods, services, notes, facts } = setup();
    services.set('shop/api', service({ selector: { app: 'api' } }));
    assert.deepEqual(notes(), []);
    pods.set('shop/web-0', { ...facts, labels: { app: 'api' } });
    assert.equal(notes().length, 1);
    assert.match(notes()[0] ?? '', /lacks api\.shop\.svc, /);
  });

  it('a missing name is reported when a Service becomes headless, with the name of the pod alone', () => {
    const { services, notes } = setup({ pod: { hostname: 'web-0', subdomain: 'web' } });
    services.set('shop/web', service({ selector: { app: 'web' }, clusterIP: 'None' }));
    assert.match(notes().join(), /lacks web-0\.web\.shop\.svc, web-0\.web\.shop\.svc\.cluster\.local:/);
  });

  it('a missing name is reported by one replica of three', () => {
    const replicas = ['signer-a', 'signer-b', 'signer-c'];
    const { services, recorded } = setup({ replicas });
    services.set('shop/www', ofWeb);
    assert.equal(recorded.length, 1);
    assert.ok(ranking('pod-uid', replicas)[0]);
  });

  it('a missing name is not reported by a replica that has ended', async () => {
    const { services, recorded, stopping } = setup();
    stopping.abort();
    await new Promise(setImmediate);
    services.set('shop/www', ofWeb);
    assert.deepEqual(recorded, []);
  });

  it('a missing name is reported for the Services that the pod chose', () => {
    const { services, notes } = setup({ pod: { certificateSources: [source('web,www')] } });
    services.set('shop/www', ofWeb);
    assert.equal(notes().length, 1);
  });

  const silent: [
    what: string,
    pod: Partial<PodFacts>,
    change: (cluster: ReturnType<typeof setup>) => void,
  ][] = [
    [
      'the pod does not run yet',
      { isRunning: undefined as never },
      ({ services }) => services.set('shop/www', ofWeb),
    ],
    [
      'the pod has no certificate of the signer',
      { certificateSources: [] },
      ({ services }) => services.set('shop/www', ofWeb),
    ],
    [
      'the pod chose other Services',
      { certificateSources: [source('web')] },
      ({ services }) => services.set('shop/www', ofWeb),
    ],
    [
      'the choice of the pod is invalid',
      { certificateSources: [source('a/b')] },
      ({ services }) => services.set('shop/www', ofWeb),
    ],
    ['the Service is of another namespace', {}, ({ services }) => services.set('bank/www', ofWeb)],
    ['a Service is deleted', {}, ({ services }) => services.delete('shop/web')],
    ['all Services are listed again', {}, ({ services }) => services.replace([['shop/web', ofWeb]])],
    [
      'a Service has another selector and still selects the pod',
      {},
      ({ services }) => services.set('shop/web', service({ selector: { app: 'web' }, type: 'NodePort' })),
    ],
    [
      'another pod takes its name',
      {},
      ({ pods, facts }) => pods.set('shop/web-0', { ...facts, uid: 'other', labels: { app: 'api' } }),
    ],
    ['its status changes', {}, ({ pods, facts }) => pods.set('shop/web-0', { ...facts })],
  ];
  for (const [what, pod, change] of silent) {
    it(`a missing name is not reported when ${what}`, () => {
      const cluster = setup({ pod });
      change(cluster);
      assert.deepEqual(cluster.notes(), []);
    });
  }
});
