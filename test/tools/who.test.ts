import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { allIdentities } from '../../tools/cluster/identities.ts';
import type { KnownPod } from '../../tools/cluster/pods.ts';
import { holdersOf, type ShownCertificate } from '../../tools/who/authority.ts';
import { type Answer, hasName, whoHas } from '../../tools/who/report.ts';
import { aRegistration, aService, aWirePod, aWorld } from './world.ts';

const now = 1_800_000_000;
const id = 'spiffe://example.org/ns/shop/sa/web';
const byRegistration = 'spiffe://example.org/ns/shop/app/web';

/** An answered request of a pod, with a certificate for a name that ends after so many seconds. */
function anAnswer(podUID: string, name: string, endsAfter = 3600, different: object = {}): Answer {
  const leaf = {
    ...{ uris: [name], dnsNames: [], notAfter: now + endsAfter, serialHex: `0${endsAfter}` },
    authorityKeyId: Uint8Array.of(1, 2),
  };
  const spec = {
    signerName: 'kubespiffe.io/spiffe',
    podName: 'web-0',
    podUID,
    nodeName: 'node-1',
    ...different,
  };
  const request = { metadata: { name: `req-${endsAfter}`, namespace: 'shop' }, spec, status: {} };
  return { request, chain: [leaf] } as unknown as Answer;
}

/** Certificates of the pod u-1, by the CA that signed and when they end, and the pod with so many volumes. */
function holders(shown: readonly [ca: number, endsAfter: number][], volumes: number) {
  const certificates = shown.map(([ca, endsAfter]): ShownCertificate => {
    const leaf = { notAfter: now + endsAfter, serialHex: `0${endsAfter}`, authorityKeyId: Uint8Array.of(ca) };
    const place = { namespace: 'shop', pod: 'web-0', podUID: 'u-1', signer: 'kubespiffe.io/spiffe' };
    return { ...place, leaf: leaf as unknown as CertificateFacts };
  });
  const sources = Array.from({ length: volumes }, () => ({ signerName: 'kubespiffe.io/spiffe' }));
  const pod = { uid: 'u-1', sources } as unknown as KnownPod;
  const signers = new Set(['kubespiffe.io/spiffe']);
  const report = holdersOf(Uint8Array.of(1), certificates, [['shop/web-0', pod]], { signers, now });
  return [report.holders.map(({ serial }) => serial), report.unknown];
}

describe('who holds a certificate of a CA', () => {
  const rows: [
    what: string,
    shown: [ca: number, endsAfter: number][],
    volumes: number,
    expected: string[][],
  ][] = [
    [
      'the newest certificate of one volume counts',
      [
        [1, 100],
        [2, 200],
      ],
      1,
      [[], []],
    ],
    [
      'an older one counts where the pod has two volumes',
      [
        [1, 100],
        [2, 200],
      ],
      2,
      [['0100'], []],
    ],
    [
      'one that has ended counts for nothing',
      [
        [1, -1],
        [2, 200],
      ],
      2,
      [[], []],
    ],
    ['the certificate of the second volume is unknown', [[2, 200]], 2, [[], ['shop/web-0']]],
    ['a pod that is known to hold one is not unknown too', [[1, 200]], 2, [['0200'], []]],
    ['nothing is known without requests', [], 1, [[], ['shop/web-0']]],
  ];
  for (const [what, shown, volumes, expected] of rows) {
    it(`holders of a certificate: ${what}`, () => assert.deepEqual(holders(shown, volumes), expected));
  }
});

const root = { keyId: Uint8Array.of(1, 2), sha256Hex: 'ab' } as unknown as CertificateFacts;

describe('who has a name', () => {
  it('a holder of a name is shown with its newest certificate and the root above it', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const answers = [anAnswer('u-1', id, 7200), anAnswer('u-1', id, 3600)];
    const { holders } = whoHas(id, allIdentities(world), answers, [root], now);
    assert.equal(holders.length, 1);
    assert.equal(holders[0]?.getsIt, true);
    assert.equal(holders[0]?.certificate?.request, 'req-7200');
    assert.deepEqual(holders[0]?.certificate?.authority, { keyId: '0102', root: 'ab' });
  });

  it('a pod is listed that has another name now and still holds a certificate', async () => {
    const world = await aWorld({ pods: [aWirePod()], workloadregistrations: [aRegistration('web')] });
    const identities = allIdentities(world);
    const [before] = whoHas(id, identities, [anAnswer('u-1', id)], [], now).holders;
    assert.deepEqual([before?.getsIt, before?.certificate?.authority.root], [false, null]);
    const [after] = whoHas(byRegistration, identities, [], [], now).holders;
    assert.deepEqual([after?.getsIt, after?.registration, after?.certificate], [true, 'shop/web', null]);
  });

  it('a pod that was deleted or replaced is listed as long as its certificate is valid', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const answers = [anAnswer('u-0', id), anAnswer('u-2', id, 3600, { podName: 'gone' })];
    const { holders } = whoHas(id, allIdentities(world), answers, [], now);
    assert.deepEqual(
      holders.map(({ pod, getsIt }) => [pod, getsIt]),
      [
        ['web-0', true],
        ['web-0', false],
        ['gone', false],
      ],
    );
  });

  it('a pod is not listed if the signer denies its request', async () => {
    const world = await aWorld({ pods: [aWirePod([{ keyType: 'RSA2048' }])] });
    assert.deepEqual(whoHas(id, allIdentities(world), [], [], now).holders, []);
  });

  it('an expired certificate or a finished pod is not listed', async () => {
    const world = await aWorld({ pods: [aWirePod([{}], { status: { phase: 'Failed' } })] });
    assert.deepEqual(whoHas(id, allIdentities(world), [anAnswer('u-1', id, -1)], [], now).holders, []);
  });

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

  const rows: [name: string, dnsName: string, has: boolean][] = [
    ['web.shop.svc', 'web.shop.svc', true],
    ['web.shop.svc', '*.shop.svc', true],
    ['a.web.shop.svc', '*.shop.svc', false],
    ['web.shop.svc', 'api.shop.svc', false],
  ];
  for (const [name, dnsName, has] of rows) {
    it(`the name ${name} ${has ? 'includes' : 'does not include'} ${dnsName}`, () => {
      assert.equal(hasName({ uris: [], dnsNames: [dnsName] }, name), has);
    });
  }
});
