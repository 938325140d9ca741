import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { usualRootPropagationSeconds } from '../../signer/authority/may-sign.ts';
import type { PoolProblemReason } from '../../signer/authority/problem.ts';
import type { ClusterTrustBundle, PodCertificateRequest } from '../../signer/kube/types.ts';
import type { WaitReason } from '../../signer/observe/reasons.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { makeCa } from '../authority/authorities.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
const hour = 3600;
/** The default. */
const flags = ['--root-propagation-delay', '6m30s'];

/** What a problem of the pool Secret does: nothing is signed, the problem is named, the roots stay published. */
describe('the pool Secret, good and bad', () => {
  let controlPlane: ControlPlane;
  let kubeconfig: string;
  let signer: SignerProcess;
  let good: PoolDocument;

  before(async () => {
    controlPlane = await startControlPlane();
    kubeconfig = await installSigner(controlPlane);
    good = await aPool();
    await putPool(controlPlane, good);
    signer = await startSigner({ kubeconfig, flags });
    await signer.ready();
  });
  after(() => controlPlane?.stop());

  async function publishedBundle(): Promise<ClusterTrustBundle | undefined> {
    const answer = await controlPlane.request('GET', bundlePath);
    return answer.status === 200 ? (answer.body as ClusterTrustBundle) : undefined;
  }

  async function notReady(expected: RegExp): Promise<void> {
    await waitFor(`readiness to say ${expected}`, async () => {
      const { ok, text } = await signer.readiness();
      if (ok || !expected.test(text)) throw new Error(text);
      return true;
    });
  }

  /** The good pool with its one authority changed. */
  const withAuthority = (change: Partial<AuthorityRecord>): PoolDocument => ({
    ...good,
    sequence: good.sequence + 1,
    authorities: good.authorities.map((authority) => ({ ...authority, ...change })),
  });

  async function lasting(notBefore: number, notAfter: number): Promise<PoolDocument> {
    const now = Math.floor(Date.now() / 1000);
    const { certificate, privateKey } = await makeCa({
      notBefore: now + notBefore,
      notAfter: now + notAfter,
    });
    return withAuthority({ certificate, privateKey });
  }

  const problems: {
    /** How the problem is made. */
    name: string;
    put: () => Promise<void>;
    /** What the requests wait for. */
    waits: WaitReason;
    /** What is wrong with the pool, and how it is said: `<field>: <what is wrong>; <remedy>`. */
    problem: PoolProblemReason;
    says: RegExp;
  }[] = [
    {
      name: 'is missing',
      put: () => deletePool(controlPlane),
      waits: 'PoolUnusable',
      problem: 'PoolMissing',
      says: /^pool: there is no such Secret; put a copy back with `kubespiffe ca restore`; .*`kubespiffe ca create`/,
    },
    {
      name: 'is empty',
      put: () => putPool(controlPlane, ''),
      waits: 'PoolUnusable',
      problem: 'PoolEmpty',
      says: /^pool: the Secret has no key pool\.json; .*`kubespiffe ca restore`/,
    },
    {
      name: 'is malformed',
      put: () => putPool(controlPlane, '{"apiVersion": '),
      waits: 'PoolUnusable',
      problem: 'PoolMalformed',
      says: /^pool: the text is not JSON; correct it, or put a copy back with `kubespiffe ca restore`/,
    },
    {
      name: 'has no authority',
      put: () => putPool(controlPlane, { ...good, authorities: [] }),
      waits: 'PoolUnusable',
      problem: 'PoolEmpty',
      says: /^pool\.authorities: there is none; put a copy back with `kubespiffe ca restore`/,
    },
    {
      name: 'has a state that is not known',
      put: () =>
        putPool(
          controlPlane,
          JSON.stringify(withAuthority({ state: 'dormant' as AuthorityRecord['state'] })),
        ),
      waits: 'PoolUnusable',
      problem: 'PoolStateUnknown',
      says: /^pool\.authorities\[0\]\.state: the state "dormant" is not known .*; run the version of kubespiffe that wrote it/,
    },
    {
      name: 'is of another trust domain',
      put: async () => putPool(controlPlane, await aPool({ trustDomain: 'example.com' })),
      waits: 'PoolUnusable',
      problem: 'PoolTrustDomainMismatch',
      says: /^pool\.trustDomain: is "example\.com", .*"example\.org"; name the pool of that trust domain in the setting pool/,
    },
    {
      name: 'has a key that does not match',
      put: async () => {
        const [other] = (await aPool()).authorities;
        const { privateKey } = other ?? {};
        await putPool(controlPlane, withAuthority(privateKey === undefined ? {} : { privateKey }));
      },
      waits: 'PoolUnusable',
      problem: 'PoolKeyMismatch',
      says: /^pool\.authorities\[0\]\.privateKey: does not belong to the certificate .*; put the key .* there/,
    },
    {
      name: 'has expired',
      put: async () => putPool(controlPlane, await lasting(-48 * hour, -hour)),
      waits: 'PoolUnusable',
      problem: 'PoolExpired',
      says: /^pool\.authorities\[0\]\.certificate: .* expired at .*; add a new CA and make it active/,
    },
    {
      name: 'is not yet valid',
      put: async () => putPool(controlPlane, await lasting(24 * hour, 48 * hour)),
      waits: 'PoolUnusable',
      problem: 'PoolNotYetValid',
      says: /^pool\.authorities\[0\]\.certificate: .* valid only from .* on; check the clock/,
    },
    {
      name: 'has under an hour left',
      put: async () => putPool(controlPlane, await lasting(-hour, hour / 2)),
      waits: 'AuthorityExpiring',
      problem: 'AuthorityExpiring',
      says: /^pool\.authorities\[0\]\.certificate: .* in less than an hour; add a new CA and make it active/,
    },
  ];

  /** The problem of the pool as /readyz?verbose says it. */
  const poolProblemSaid = () =>
    waitFor(
      'the pool not to be ready',
      async () => /^\[-\]spiffe\/pool (.*)$/m.exec((await signer.readiness()).text)?.[1],
    );

  for (const { name, put, waits, problem, says } of problems) {
    it(`a signer waits, is not ready, names field and remedy, and keeps the roots when the pool ${name}`, async () => {
      const before = await publishedBundle();
      await put();
      const said = await poolProblemSaid();
      assert.match(said, says);
      await waitFor(`the log to call it ${problem}`, () =>
        signer.lines().some(({ reason, msg }) => reason === problem && msg === said),
      );
      const pod = await createPod(controlPlane);
      const request = await requestFor(controlPlane, pod);
      const key = `default/${request.metadata.name}`;
      const told = await waitFor('the decision', () => signer.lines().find((line) => line.request === key));
      assert.equal(told.reason, waits);
      assert.ok(String(told.msg).includes(said), String(told.msg));
      assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
      assert.equal((await publishedBundle())?.spec.trustBundle, before?.spec.trustBundle);

      await putPool(controlPlane, good);
      assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    });
  }

  it('a signer reports in an Event on the pod why it waits and what to do', async () => {
    await deletePool(controlPlane);
    await notReady(/no such Secret/);
    const pod = await createPod(controlPlane);
    const request = await requestFor(controlPlane, pod);
    const event = await waitFor('the Event', async () => {
      const answer = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = answer.body as { items: { note: string; regarding: { name: string } }[] };
      return items.find(({ regarding }) => regarding.name === pod.metadata.name);
    });
    assert.match(event.note, /CA pool.*kubespiffe ca restore.*kubespiffe ca create/);
    await putPool(controlPlane, good);
    await answerTo(controlPlane, request);
  });

  const differences: [string, () => Promise<unknown>][] = [
    ['deleted', () => controlPlane.request('DELETE', bundlePath)],
    [
      'emptied of its label',
      () =>
        controlPlane.request('PATCH', bundlePath, {
          metadata: { labels: { 'k8s.spiffe.io/canarying': null } },
        }),
    ],
    [
      'given another root',
      async () => {
        const now = Math.floor(Date.now() / 1000);
        const { certificate } = await makeCa({ notBefore: now - hour, notAfter: now + 24 * hour });
        await controlPlane.request('PATCH', bundlePath, { spec: { trustBundle: certificate } });
      },
    ],
  ];
  for (const [name, disturb] of differences) {
    it(`a signer repairs the trust bundle within seconds when it is ${name}`, async () => {
      const before = await publishedBundle();
      await disturb();
      await waitFor(
        'the repair',
        async () => {
          const bundle = await publishedBundle();
          return (
            bundle?.spec.trustBundle === before?.spec.trustBundle &&
            bundle?.metadata.labels?.['k8s.spiffe.io/canarying'] === 'live'
          );
        },
        { timeoutMs: 20_000 },
      );
    });
  }

  describe('a signer that starts while its CA is too old to sign', () => {
    let old: PoolDocument;
    let rising: PoolDocument;
    before(async () => {
      old = await lasting(-48 * hour, hour / 2);
      const [ending] = old.authorities;
      const [standing] = good.authorities;
      assert.ok(ending && standing);
      rising = { ...old, authorities: [ending, { ...standing, id: 'standing', state: 'retiring' }] };
    });

    async function restartWith(pool: PoolDocument): Promise<void> {
      await signer.child.stop();
      await putPool(controlPlane, pool);
      signer = await startSigner({ kubeconfig, flags });
      await notReady(/\[-\]spiffe\/pool .*in less than an hour/);
    }
    const certificatesIn = (bundle: ClusterTrustBundle | undefined) =>
      bundle?.spec.trustBundle.match(/BEGIN CERTIFICATE/g)?.length;

    it('a signer with a CA that is too old to sign publishes the roots, also new ones', async () => {
      await restartWith(rising);
      await waitFor('both roots', async () => certificatesIn(await publishedBundle()) === 2);
      await notReady(/\[\+\]spiffe\/trust-bundle/);
    });

    it('a signer with a CA that is too old to sign removes no root that others may still serve', async () => {
      await restartWith({ ...old, sequence: rising.sequence + 1 });
      await notReady(/\[\+\]caches .*\[-\]spiffe\/trust-bundle [^\n]*no usable pool to publish/s);
      assert.equal(certificatesIn(await publishedBundle()), 2);
      const ended = old.authorities.map((each) => ({ ...each, id: 'ended', state: 'retired' as const }));
      const authorities = [...good.authorities, ...ended];
      good = { ...good, sequence: rising.sequence + 2, authorities };
      await putPool(controlPlane, good);
      await signer.ready();
    });
  });

  describe('a new CA that is active before its root has reached every pod', () => {
    let previous: AuthorityRecord;
    let next: AuthorityRecord;
    let others: readonly AuthorityRecord[];
    before(async () => {
      const now = Math.floor(Date.now() / 1000);
      const [standing, ...rest] = good.authorities;
      assert.ok(standing);
      others = rest;
      previous = { ...standing, publishedAt: rfc3339(now - hour) };
      next = await createAuthority({ id: 'next', trustDomain: 'example.org', now });
    });

    /** Puts the pool with both CAs, the new one published at this time. */
    async function put(active: 'previous' | 'next', publishedAt: number): Promise<void> {
      const [first, second] = [previous, { ...next, publishedAt: rfc3339(publishedAt) }];
      const pair: AuthorityRecord[] =
        active === 'previous'
          ? [first, { ...second, state: 'trusted' }]
          : [{ ...first, state: 'retiring' }, second];
      good = { ...good, sequence: good.sequence + 1, authorities: [...pair, ...others] };
      await putPool(controlPlane, good);
    }

    async function waitingRequest() {
      const pod = await createPod(controlPlane);
      const request = await requestFor(controlPlane, pod);
      const event = await waitFor('the Event', async () => {
        const answer = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
        const { items } = answer.body as {
          items: { reason: string; note: string; regarding: { uid: string } }[];
        };
        return items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
      });
      assert.equal(event.reason, 'RootTooNew');
      return { request, note: event.note };
    }

    const issuerOf = async (request: PodCertificateRequest, ca: AuthorityRecord) => {
      const { certificateChain } = await answerTo(controlPlane, request);
      return new X509Certificate(certificateChain ?? '').verify(
        new X509Certificate(ca.certificate ?? '').publicKey,
      );
    };

    it('a request waits until the time that its Event names when the new CA is active too soon', async () => {
      const from = Math.floor(Date.now() / 1000) + 20;
      await put('next', from - usualRootPropagationSeconds);
      await notReady(new RegExp(`\\[-\\]spiffe/pool .*authority next before ${rfc3339(from)}`));
      const { request, note } = await waitingRequest();
      assert.match(note, /^The root of the signing CA was published too recently;/);
      assert.ok(
        note.includes(`before ${rfc3339(from)}; wait until then, or make authority 1 active again`),
        note,
      );
      await waitFor('that time', async () => {
        const { status } = await read(controlPlane, request);
        const isTime = Date.now() / 1000 >= from;
        assert.ok(isTime || status?.conditions === undefined, 'answered before that time');
        return isTime;
      });
      assert.ok(await issuerOf(request, next));
      const late = Date.now() / 1000 - from;
      assert.ok(late >= 0 && late < 15, `issued ${late} s after the time`);
      await signer.ready();
    });

    it('a request is answered at once when the previous CA is made active again', async () => {
      await put('next', Math.floor(Date.now() / 1000));
      await notReady(/\[-\]spiffe\/pool .*publishedAt: is so recent/);
      const { request } = await waitingRequest();
      await put('previous', Math.floor(Date.now() / 1000));
      assert.ok(await issuerOf(request, previous));
      await signer.ready();
    });
  });

  it('a signer never puts key material into its output', () => {
    assert.doesNotMatch(signer.output(), /PRIVATE KEY|MIG[HTM]AgE/);
  });
});
