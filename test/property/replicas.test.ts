import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { cannot } from '../../signer/observe/reasons.ts';
import { startsAt } from '../issuance/replica.ts';
import { createSimulation, fates, type Simulation } from '../issuance/simulation.ts';

const trustDomain = 'example.org';
const x = await createAuthority({ id: 'x', trustDomain, now: startsAt });
const y = await createAuthority({ id: 'y', trustDomain, now: startsAt });
const poolsOf = () => {
  let sequence = 0;
  return (...authorities: [AuthorityRecord, ...AuthorityRecord[]]): Secret => {
    sequence += 1;
    const pool = { ...newPool(trustDomain, ...authorities), sequence };
    return { metadata: { name: 'pool' }, data: serializePool(pool) };
  };
};
const tainted = (record: AuthorityRecord) => ({ ...record, state: 'retiring', tainted: true }) as const;

/** Back-off, takeover by a third replica and the time in which a confirmed answer shows, all in a row. */
const healedWithinMs = 60_000;

/** A signature is sent again for 25 s; it is made a little before it is sent. */
const reusedForMs = 24_000;

const podNames = ['web', 'db', 'job'];
const pod = fc.constantFrom(...podNames);
/** More than the simulation lets a pod have open at a time. */
const slots = [0, 1, 2, 3, 4];
const slot = fc.constantFrom(...slots);
const replica = fc.nat({ max: 2 });
const fate = fc.constantFrom(...fates);
const lagMs = fc.constantFrom(0, 20, 700, 4_000, 15_000);

/** What may happen. Everything but time is told apart by small numbers, so that shrinking works. */
const happening = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.nat({ max: 4_000 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('request' as const), pod, slot, isDenied: fc.nat({ max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('requests of all volumes' as const), pod }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('fates' as const),
      replica,
      fates: fc.array(fate, { maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lag' as const), replica, ms: lagMs }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pod deleted' as const), pod }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pod replaced' as const), pod }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('request deleted' as const), pod, slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('relist' as const), replica }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('crash' as const), replica, isReplaced: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('alone' as const), replica }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('members' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('taint' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('clock', 'bundle', 'guard'),
      replica,
      isRight: fc.boolean(),
    }),
  },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

/** A certificate that stands is for the key and the pod of its request, and stays as it is. */
function createWitness(world: Simulation) {
  const visible = new Map<string, string>();
  return () => {
    for (const { metadata, spec, status } of world.requests.values()) {
      if (!status) continue;
      const shown = JSON.stringify(status);
      assert.equal(visible.get(metadata.uid) ?? shown, shown, 'an answer was replaced');
      visible.set(metadata.uid, shown);
      if (status.certificateChain === undefined) continue;
      const leaf = new X509Certificate(status.certificateChain);
      const key = leaf.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      assert.equal(key, spec.pkixPublicKey, 'a certificate is for the key of another request');
      assert.equal(leaf.subjectAltName, `URI:spiffe://${trustDomain}/ns/shop/sa/${spec.podName}`);
    }
  };
}

async function happens(world: Simulation, it: Happening, taint: () => Secret): Promise<void> {
  const at = (index: number) => {
    const alive = world.alive();
    return alive[index % alive.length] as (typeof alive)[number];
  };
  const makeRequest = (pod: string, slot: number, isDenied: boolean) => {
    if (!world.pods.has(pod)) world.makePod(pod);
    world.deleteRequest(`${pod}-${slot}`);
    world.makeRequest(`${pod}-${slot}`, pod, isDenied);
  };
  switch (it.kind) {
    case 'advance':
      return world.time.advance(it.ms);
    case 'request':
      return makeRequest(it.pod, it.slot, it.isDenied === 0);
    case 'requests of all volumes':
      for (const slot of slots) makeRequest(it.pod, slot, false);
      return;
    case 'fates':
      at(it.replica).controls.fates = [...it.fates];
      return;
    case 'lag':
      at(it.replica).controls.lagMs = it.ms;
      return;
    case 'pod deleted':
      return world.deletePod(it.pod);
    case 'pod replaced':
      world.deletePod(it.pod);
      return world.makePod(it.pod);
    case 'request deleted':
      return world.deleteRequest(`${it.pod}-${it.slot}`);
    case 'relist':
      at(it.replica).relist('pods');
      return at(it.replica).relist('requests');
    case 'crash':
      // One stays; another one takes the place of every second.
      if (it.isReplaced) world.start();
      if (world.alive().length > 1) world.crash(at(it.replica));
      return;
    case 'alone':
      return at(it.replica).setMembers([at(it.replica).self]);
    case 'members':
      return world.learnMembers();
    case 'taint':
      return world.putPool(taint());
    case 'clock':
      at(it.replica).controls.clockProblem = it.isRight ? undefined : 'an hour slow';
      return;
    case 'bundle':
      at(it.replica).controls.isPublished = it.isRight;
      return;
    case 'guard':
      at(it.replica).controls.refusal = it.isRight ? undefined : cannot('RequestsUnguarded', 'no policy');
      return;
  }
}

/** A retry sends the bytes of the first try, as long as they are young and the same authority signs. */
function checkRetries({ sent }: Simulation): void {
  const last = new Map<string, (typeof sent)[number]>();
  for (const each of sent) {
    const key = `${each.self}/${each.uid}`;
    const before = last.get(key);
    if (before && before.chain === each.chain) continue;
    last.set(key, each);
    if (!before || each.at - before.at > reusedForMs) continue;
    assert.notEqual(issuerOf(each.chain), issuerOf(before.chain), `${key} was signed twice`);
  }
}

const issuerOf = (chain: string | undefined) => chain && new X509Certificate(chain).issuer;

/** All faults end, and what can be answered has been answered a while later. */
async function heal(world: Simulation): Promise<void> {
  for (const { controls } of world.alive()) {
    Object.assign(controls, {
      lagMs: 0,
      fates: [],
      clockProblem: undefined,
      isPublished: true,
      refusal: undefined,
    });
  }
  world.learnMembers();
  await world.time.advance(healedWithinMs);
}

/**
 * Each answer that stands was reported once, by the replica that gave it, and no other was. A replica that was told of a
 * success by a proxy reports what never stood, and one that writes the same denial in the same second learns of no other.
 */
function checkReports(world: Simulation, hasProxies: boolean): void {
  for (const { metadata, status } of world.requests.values()) {
    if (!status) continue;
    const [{ manager } = {}] = (metadata.managedFields ?? []) as { manager?: string }[];
    const answers = world.replicas.flatMap(({ self, audits }) =>
      audits
        .filter(({ request, outcome }) => request.uid === metadata.uid && /Issued|Denied/.test(outcome))
        .map(({ serial }) => ({ self, serial })),
    );
    const { certificateChain: chain } = status;
    const serial = chain && new X509Certificate(chain).serialNumber.toLowerCase();
    const right = answers.filter((each) => each.serial === serial && each.self === manager);
    const hasDied = world.replicas.find(({ self }) => self === manager)?.isDead();
    if (!hasDied) assert.equal(right.length, 1, `reports of ${metadata.name} by ${manager}`);
    if (hasProxies || serial === undefined) continue;
    assert.deepEqual(
      answers.filter((each) => !right.includes(each)),
      [],
    );
  }
}

for (const count of [1, 2, 3]) {
  test(`a fleet that starts with ${count} gives each request one answer, leaves none behind and remembers none that is gone`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { minLength: 5, maxLength: 40 }), async (happenings) => {
        const poolOf = poolsOf();
        const world = createSimulation(poolOf(x));
        let signing = x;
        const taint = () => {
          const before = signing;
          signing = before === x ? y : x;
          return poolOf(tainted(before), signing);
        };
        for (let index = 0; index < count; index += 1) world.start();
        const look = createWitness(world);
        for (const each of happenings) {
          await happens(world, each, taint);
          look();
        }
        await heal(world);
        look();
        for (const { metadata, spec, status } of world.requests.values()) {
          const isAnswerable = world.pods.get(spec.podName)?.metadata.uid === spec.podUID;
          if (isAnswerable) assert.ok(status, `${metadata.name} was left behind`);
        }
        const hasProxies = happenings.some((each) => each.kind === 'fates' && each.fates.includes('proxy'));
        checkReports(world, hasProxies);
        checkRetries(world);

        for (const name of [...world.requests.keys()]) world.deleteRequest(name);
        await world.time.advance(healedWithinMs);
        for (const { self, controller } of world.alive()) {
          assert.equal(controller.size(), 0, `${self} remembers a request that is gone`);
          assert.equal(controller.pending().queued, 0);
        }
        assert.deepEqual(world.errors, []);
        await world.stop();
        assert.equal(world.time.pending(), 0, 'a timer is left');
      }),
      { numRuns: Number(process.env.KUBESPIFFE_SIMULATIONS ?? 40) },
    );
  });
}
