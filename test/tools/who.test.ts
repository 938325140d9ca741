import assert from 'node:assert/strict';
import { it } from 'node:test';
import { allIdentities } from '../../tools/cluster/identities.ts';
import { whoHas } from '../../tools/who/report.ts';
import { aService, aWirePod, aWorld } from './world.ts';

it('a certificate is shown with the volume that gets its name, not with another volume of the pod', async () => {
  const signerName = 'kubespiffe.io/service-dns';
  const asking = (services: string) => ({
    signerName,
    userAnnotations: { 'kubespiffe.io/services': services },
  });
  const world = await aWorld({
    pods: [aWirePod([asking('web'), asking('api')])],
    services: [aService('web'), aService('api')],
  });
  const answer = {
    request: {
      metadata: { name: 'request-1', namespace: 'shop' },
      spec: { signerName, podName: 'web-0', podUID: 'u-1', nodeName: 'node-1' },
    },
    chain: [{ notAfter: 2_000, serialHex: '0a', uris: [], dnsNames: ['api.shop.svc'] }],
  };
  const { holders } = whoHas('api.shop.svc', allIdentities(world), [answer as never], [], 1_000);
  const seen = holders.map(({ pod, getsIt, by, certificate }) => [pod, getsIt, by, certificate?.request]);
  assert.deepEqual(seen, [['web-0', true, 'certificate', 'request-1']]);
});
