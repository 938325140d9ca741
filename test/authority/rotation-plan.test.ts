import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readAuthority } from '../../signer/authority/authority.ts';
import { createAuthority, newPool } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { rootOf } from '../../signer/authority/material.ts';
import { signsFrom } from '../../signer/authority/may-sign.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import { isSigning, type Timing } from '../../signer/authority/ready.ts';
import {
  type PolicyStep,
  policyStep,
  policySteps,
  rotatedKinds,
} from '../../signer/authority/rotation-plan.ts';
import { marginSeconds, policyProblem, type RotationPolicy } from '../../signer/authority/rotation-policy.ts';
import { raisedUntil } from '../../signer/authority/signed-until.ts';
import { type AuthorityKind, isJwtKind, isPublished } from '../../signer/authority/states.ts';
import { endOf } from '../../signer/authority/transitions.ts';
import { applyVerb } from '../../signer/authority/verbs.ts';
import { limitsUris } from '../../spiffe/name-constraints.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { usualPolicy as usual } from './usual-policy.ts';

const trustDomain = 'example.org';
const day = 86_400;
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const timing: Timing = { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 };
const first = await createAuthority({ id: 'ca-1', trustDomain, now });
const jwt = await createJwtAuthority({ key: 'es256', now });

/** The document after a step, which must break nothing. */
async function take(
  document: PoolDocument,
  kind: AuthorityKind,
  step: PolicyStep,
  { at, policy = usual, times = timing }: { at: number; policy?: RotationPolicy; times?: Timing },
): Promise<PoolDocument> {
  if (step.kind !== 'prepare' && step.kind !== 'change') return document;
  const result =
    step.kind === 'prepare'
      ? await prepareAuthority(document, { kind, now: at, lifetimeSeconds: policy.lifetimeSeconds })
      : applyVerb(document, step.verb, step.id, { now: at, timing: times, published: undefined });
  assert.ok(result.ok, JSON.stringify(result));
  assert.equal(result.consequence, undefined);
  return result.document;
}

/** What a rotation does in a time, with when: nothing is kept between two steps but the document. */
async function history(
  start: PoolDocument,
  kind: AuthorityKind,
  policy: RotationPolicy,
  until: number,
): Promise<string[]> {
  let document = start;
  let at = now;
  const lines: string[] = [];
  while (at < until) {
    const step = policyStep(document, kind, { now: at, timing, policy });
    if (!step) break;
    if (step.kind === 'blocked') return [...lines, `blocked: ${step.what}`];
    if (step.kind === 'wait') {
      at = step.until;
      continue;
    }
    const days = ((at - now) / day).toFixed(1);
    lines.push(`${days}d ${step.kind === 'change' ? `${step.verb} ${step.id}` : step.kind}`);
    document = await take(document, kind, step, { at, policy });
  }
  return lines;
}

describe('a rotation by policy', () => {
  it('a rotation keeps a CA in reserve, lets it sign after caActivateAfter, and retires the one before', async () => {
    assert.deepEqual(await history(newPool(trustDomain, first), 'X509', usual, now + 370 * day), [
      '0.0d prepare',
      '0.0d trust ca-2',
      '120.0d activate ca-2',
      '120.0d prepare',
      '120.0d trust ca-3',
      '121.0d retire ca-1',
      '240.0d activate ca-3',
      '240.0d prepare',
      '240.0d trust ca-4',
      '241.0d retire ca-2',
      '360.0d activate ca-4',
      '360.0d prepare',
      '360.0d trust ca-5',
      '361.0d retire ca-3',
      '365.0d remove ca-1',
      '365.0d remove ca-2',
    ]);
  });

  it('a rotation prepares late if that is wanted, and shows the root in the preview bundle first', async () => {
    const policy = { ...usual, prepareAfterSeconds: 100 * day, previewSeconds: 2 * day };
    assert.deepEqual(await history(newPool(trustDomain, first), 'X509', policy, now + 119 * day), [
      '100.0d prepare',
      '100.0d preview ca-2',
      '102.0d trust ca-2',
    ]);
  });

  const unable: [why: string, change: Partial<AuthorityRecord>, at: number][] = [
    ['is tainted', { tainted: true }, now],
    ['is retired', { state: 'retired' }, now],
    ['has half an hour left', {}, now + 365 * day - 1_800],
  ];
  for (const [why, change, at] of unable) {
    it(`a rotation does not wait for the preview of a root while the only CA ${why}, because nothing signs`, async () => {
      const policy = { ...usual, previewSeconds: 7 * day };
      const made = await createAuthority({ id: 'ca-2', trustDomain, now: at });
      const previewedAt = rfc3339(at);
      const stepOf = (
        old: AuthorityRecord,
        next: Partial<AuthorityRecord>,
        more: Partial<RotationPolicy> = {},
      ) => {
        const { publishedAt: _, activatedAt: __, ...unpublished } = made;
        const document = newPool(trustDomain, old, { ...unpublished, ...next });
        return policyStep(document, 'X509', { now: at, timing, policy: { ...policy, ...more } });
      };
      const old = { ...first, ...change };
      const trusted = { kind: 'change', verb: 'trust', id: 'ca-2' };
      assert.deepEqual(stepOf(old, { state: 'prepared' }), trusted);
      assert.deepEqual(stepOf(old, { state: 'preview', previewedAt }), trusted, 'the preview has begun');
      const verified = { requiresVerification: true };
      assert.equal(stepOf(old, { state: 'preview', previewedAt }, verified)?.kind, 'blocked');
      const working = await createAuthority({ id: 'ca-1', trustDomain, now: at });
      const previewed = { kind: 'change', verb: 'preview', id: 'ca-2' };
      assert.deepEqual(stepOf(working, { state: 'prepared' }), previewed, 'a CA that signs gives time');
      assert.equal(stepOf(working, { state: 'preview', previewedAt })?.kind, 'wait');
    });
  }

  it('a CA leaves the preview bundle only when a peer has verified a certificate by it', async () => {
    const policy = { ...usual, requiresVerification: true };
    const [, preview, blocked] = await history(newPool(trustDomain, first), 'X509', policy, now + day);
    assert.equal(preview, '0.0d preview ca-2');
    assert.match(blocked ?? '', /blocked: the root of authority ca-2 is in the preview bundle/);
    const made = await createAuthority({ id: 'ca-2', trustDomain, now });
    const verified: AuthorityRecord = { ...made, state: 'preview', verifiedAt: rfc3339(now) };
    assert.deepEqual(policyStep(newPool(trustDomain, first, verified), 'X509', { now, timing, policy }), {
      kind: 'change',
      verb: 'trust',
      id: 'ca-2',
    });
  });

  it('a rotation replaces JWT keys, and none of a kind that signs nothing', async () => {
    const pool = newPool(trustDomain, first, jwt);
    assert.deepEqual(rotatedKinds(pool), ['X509', 'JWT-ES256']);
    assert.deepEqual(await history(pool, 'JWT-ES256', usual, now + 31 * day), [
      '0.0d prepare',
      '0.0d trust jwt-es256-2',
      '30.0d activate jwt-es256-2',
      '30.0d prepare',
      '30.0d trust jwt-es256-3',
      '30.1d retire jwt-es256-1',
    ]);
  });

  it('a rotation replaces a CA that ends early while it can still sign certificates of full length', async () => {
    const short = await createAuthority({ id: 'ca-1', trustDomain, now, lifetimeSeconds: 20 * day });
    const lines = await history(newPool(trustDomain, short), 'X509', usual, now + 19 * day);
    assert.equal(lines[2], '18.0d activate ca-2');
  });

  it('a rotation lets the reserve sign in place of a tainted one, and makes another if there is none', async () => {
    const tainted = { ...first, tainted: true };
    const step = (...records: AuthorityRecord[]) =>
      policyStep(newPool(trustDomain, tainted, ...records), 'X509', { now, timing, policy: usual });
    assert.deepEqual(step(), { kind: 'prepare' });
    const made = await createAuthority({ id: 'ca-2', trustDomain, now });
    const publishedAt = rfc3339(now - day + 1);
    const old = { ...tainted, createdAt: rfc3339(now - day), publishedAt: rfc3339(now - day) };
    const pool = newPool(trustDomain, old, { ...made, state: 'trusted', publishedAt });
    assert.deepEqual(policyStep(pool, 'X509', { now, timing, policy: usual }), {
      kind: 'change',
      verb: 'activate',
      id: 'ca-2',
    });
  });

  it('a rotation does not replace a CA below that of a company by a root of its own', () => {
    const below = { ...first, intermediates: [first.certificate ?? ''] };
    const at = now + 119 * day;
    const step = policyStep(newPool(trustDomain, below), 'X509', { now: at, timing, policy: usual });
    assert.ok(step?.kind === 'blocked');
    assert.match(step.what, /ca-1 is below another CA/);
    assert.match(step.remedy, /before 2027-03-29T12:00:00Z/);
  });

  it('a rotation asks the CA above a week ahead, if it may, and continues while the request has no answer', async () => {
    const below = newPool(trustDomain, { ...first, intermediates: [first.certificate ?? ''] });
    const policy = { ...usual, hasUpstream: true, prepareAfterSeconds: 120 * day };
    const stepAt = (document: PoolDocument, at: number) =>
      policyStep(document, 'X509', { now: at, timing, policy });
    const waiting = stepAt(below, now);
    assert.ok(waiting?.kind === 'wait' && waiting.for === 'prepare');
    assert.equal(waiting.until, now + 113 * day - timing.rootPropagationSeconds);
    assert.deepEqual(stepAt(below, waiting.until), { kind: 'prepare' });
    const wanted = { kind: 'X509', now, asRequest: true } as const;
    const asked = await prepareAuthority(below, { ...wanted, requestedBy: 'rotation' });
    assert.ok(asked.ok);
    assert.deepEqual(stepAt(asked.document, now), { kind: 'prepare' });
    const byHand = await prepareAuthority(below, wanted);
    assert.ok(byHand.ok);
    assert.equal(stepAt(byHand.document, now)?.kind, 'wait', 'a person made that request');
  });

  it('a rotation asks for no further CA while one is in reserve that was too short from the beginning', async () => {
    const policy = { ...usual, hasUpstream: true };
    const stepWith = async (lifetimeSeconds: number, at: number) => {
      const made = await createAuthority({ id: 'ca-2', trustDomain, now, lifetimeSeconds });
      const { activatedAt: _, ...reserve } = made;
      const document = newPool(trustDomain, first, { ...reserve, state: 'trusted' });
      return policyStep(document, 'X509', { now: at, timing, policy });
    };
    const blocked = await stepWith(3 * day, now + 2 * day);
    assert.ok(blocked?.kind === 'blocked');
    assert.match(blocked.what, /ca-2 is in reserve and ends at 2026-12-02T12:00:00Z, too early/);
    assert.deepEqual(await stepWith(90 * day, now + 89 * day), { kind: 'prepare' }, 'it has become old');
  });
});

describe('a rotation while no authority is active', () => {
  const at = now + 10 * day;
  const facts = { now: at, timing, published: undefined };
  const after = (document: PoolDocument, ...done: ['taint' | 'untaint' | 'retire', string][]) =>
    done.reduce((before, [verb, id]) => {
      const result = applyVerb(before, verb, id, facts);
      assert.ok(result.ok, JSON.stringify(result));
      return result.document;
    }, document);
  const waysToStop = [
    ['untainted', (document: PoolDocument, id: string) => after(document, ['taint', id], ['untaint', id])],
    ['retired by force', (document: PoolDocument, id: string) => after(document, ['retire', id])],
  ] as const;

  for (const [how, stop] of waysToStop) {
    it(`a rotation makes no root in place of a CA below that of a company that was ${how}`, () => {
      const below = { ...first, intermediates: [first.certificate ?? ''] };
      const document = stop(newPool(trustDomain, below), 'ca-1');
      const step = policyStep(document, 'X509', { now: at, timing, policy: usual });
      assert.ok(step?.kind === 'blocked', JSON.stringify(step));
      assert.match(step.what, /ca-1 is below another CA/);
      assert.match(step.remedy, /bring in the next CA now/);
    });

    it(`a rotation makes no key in the pool in place of one that is kept outside and was ${how}`, async () => {
      const { privateKey: _, ...rest } = first;
      const outside = { ...rest, keyRef: 'pkcs11:token=kubespiffe;object=ca-1' };
      const document = stop(newPool(trustDomain, outside), 'ca-1');
      const result = await prepareAuthority(document, { kind: 'X509', now: at });
      assert.ok(
        !result.ok && /key of authority ca-1 is kept outside/.test(result.what),
        JSON.stringify(result),
      );
    });

    it(`a rotation makes a CA with the limits of the one that was ${how}`, async () => {
      const limited = await createAuthority({
        ...{ id: 'ca-1', trustDomain, now, keyType: 'ecdsa-p384', pathLength: 0, onlyTrustDomain: true },
      });
      const result = await prepareAuthority(stop(newPool(trustDomain, limited), 'ca-1'), {
        kind: 'X509',
        now: at,
      });
      assert.ok(result.ok);
      const next = readAuthority(result.document.authorities[1] as AuthorityRecord, 'next', trustDomain);
      assert.ok(next.ok);
      const { keyType, signing } = next.authority;
      assert.deepEqual([keyType, signing.pathLen, limitsUris(signing)], ['ECDSA P-384', 0, true]);
    });

    it(`a rotation lets the JWT key in reserve sign in place of one that was ${how}`, async () => {
      const made = await createJwtAuthority({ key: 'es256', now, id: 'jwt-2' });
      const { activatedAt: _, ...rest } = made;
      const standby: AuthorityRecord = { ...rest, state: 'trusted', publishedAt: rfc3339(at - 60) };
      const document = stop(newPool(trustDomain, first, jwt, standby), jwt.id);
      assert.deepEqual(rotatedKinds(document), ['X509', 'JWT-ES256']);
      const plan = { now: at - 60 + timing.jwtPropagationSeconds, timing, policy: usual };
      const [step] = policySteps(document, 'JWT-ES256', plan);
      assert.deepEqual(step, { kind: 'change', verb: 'activate', id: 'jwt-2' });
    });
  }

  it('a rotation keeps the last authority that signed until another signs, so that the next one is like it', () => {
    const document = after(newPool(trustDomain, first, jwt), ['taint', jwt.id], ['untaint', jwt.id]);
    const facts = { now: at + 90 * day, timing, policy: usual };
    assert.deepEqual(policySteps(document, 'JWT-ES256', facts), [{ kind: 'prepare' }]);
  });
});

describe('the check of a policy', () => {
  for (const [change, setting, words] of [
    [{}, undefined, /^$/],
    [{ lifetimeSeconds: 240 * day }, 'caLifetime', /is 240d, and a CA needs 242d: .*at least 242d/],
    [{ activateAfterSeconds: 60 }, 'caActivateAfter', /is 1m, less than .* together; .*at least 390s/],
    [{ previewSeconds: 121 * day }, 'caActivateAfter', /caPreviewFor 121d/],
    [{ jwtActivateAfterSeconds: 899 }, 'jwtKeyActivateAfter', /is 899s, .* at least 15m/],
  ] as [Partial<RotationPolicy>, string | undefined, RegExp][]) {
    it(`the check of a rotation policy ${setting ? 'refuses' : 'accepts'} ${JSON.stringify(change)}`, () => {
      const problem = policyProblem({ ...usual, ...change }, timing);
      assert.equal(problem?.setting, setting);
      assert.match(problem?.message ?? '', words);
    });
  }

  it('the check of a rotation policy accepts the defaults with the longest certificates of Kubernetes', () => {
    assert.equal(policyProblem(usual, { ...timing, certificateSeconds: 91 * day }), undefined);
  });
});

describe('any policy, with a rotation that stands still for any time', () => {
  const seconds = (...values: number[]) => fc.constantFrom(...values);
  const policies = fc
    .record({
      lifetimeSeconds: seconds(30 * day, 90 * day, 365 * day),
      prepareAfterSeconds: seconds(0, 5 * day),
      previewSeconds: seconds(0, 60, day),
      requiresVerification: fc.constant(false),
      activateAfterSeconds: seconds(400, 7 * day, 30 * day, 120 * day),
      jwtActivateAfterSeconds: seconds(900, 7 * day),
      retireAfterSeconds: seconds(0, 3_600),
    })
    .filter((policy) => policyProblem(policy, timing) === undefined);
  /** A replica acts on time; all are gone for a while; a person takes what signs out of use, or a taint back. */
  const byHand = fc.record({
    verb: fc.constantFrom('taint' as const, 'untaint' as const, 'retire' as const),
    of: fc.constantFrom('X509' as const, 'JWT-ES256' as const),
  });
  const events = fc.oneof(
    { weight: 24, arbitrary: fc.constant({ kind: 'act' as const }) },
    { weight: 4, arbitrary: seconds(1, 600, day, 20 * day).map((away) => ({ kind: 'away' as const, away })) },
    { weight: 3, arbitrary: byHand.map((done) => ({ kind: 'by hand' as const, ...done })) },
  );

  /** All replicas die just when the next root is to be published, and its CA should sign when one is back. */
  const eager = {
    ...{
      ...usual,
      requiresVerification: false as const,
      lifetimeSeconds: 30 * day,
      activateAfterSeconds: 400,
    },
    ...{ jwtActivateAfterSeconds: 900, retireAfterSeconds: 0 },
  };
  const act = { kind: 'act' as const };
  const taintJwt = { kind: 'by hand', verb: 'taint', of: 'JWT-ES256' } as const;

  it('no certificate loses its root, none is signed too early or outlives its CA, and what stopped signing is replaced', async () => {
    await fc.assert(
      fc.asyncProperty(policies, fc.array(events, { minLength: 20, maxLength: 40 }), async (policy, all) => {
        let document: PoolDocument = newPool(trustDomain, first, jwt);
        let at = now;
        let isOnTime = true;
        const validUntil = new Map<string, number>();
        /** Since when the live bundle has each root that it did not begin with. A replica writes it, and may be away. */
        const shownSince = new Map<string, number>();
        // The entry of an authority begins when it is made. The first ones are older than the record.
        const record = new Map<string, number>();
        const times = {
          ...timing,
          shownSince,
          mayHaveSignedUntil: ({ id }: AuthorityRecord) => record.get(id),
        };
        const publish = () => {
          const live = document.authorities.flatMap((each) =>
            isPublished(each.state) ? (rootOf(each) ?? []) : [],
          );
          for (const root of shownSince.keys()) if (!live.includes(root)) shownSince.delete(root);
          for (const root of live)
            if (root !== rootOf(first) && !shownSince.has(root)) shownSince.set(root, at);
        };
        const visible = () => new Set([rootOf(first) ?? '', ...shownSince.keys()]);
        for (const event of all) {
          if (event.kind === 'away') {
            at += event.away;
            isOnTime = false;
          } else if (event.kind === 'by hand') {
            const { verb, of } = event;
            const one = document.authorities.find(
              ({ kind, state, tainted }) =>
                kind === of && (verb === 'untaint' ? tainted : state === 'active'),
            );
            const result =
              one && applyVerb(document, verb, one.id, { now: at, timing: times, published: visible() });
            if (result?.ok) document = result.document;
            // By force, so that what it signed becomes invalid at once.
            if (one && verb === 'retire') validUntil.delete(one.id);
            isOnTime = false;
          } else {
            publish();
            const steps = rotatedKinds(document).map((kind) => ({
              kind,
              step: policyStep(document, kind, { now: at, timing: times, policy }),
            }));
            const change = steps.find(({ step }) => step && step.kind !== 'wait');
            if (change?.step) {
              document = await take(document, change.kind, change.step, { at, policy, times });
              if (change.step.kind === 'prepare') record.set(document.authorities.at(-1)?.id ?? '', at);
            } else at = Math.min(...steps.map(({ step }) => (step?.kind === 'wait' ? step.until : at)));
          }
          for (const kind of ['X509', 'JWT-ES256'] as const) {
            const signing = document.authorities.filter(
              (each) => each.kind === kind && each.state === 'active',
            );
            assert.ok(signing.length <= 1);
            const [active] = signing;
            if (!active || active.tainted) continue;
            const delay = kind === 'X509' ? timing.rootPropagationSeconds : timing.jwtPropagationSeconds;
            assert.ok(
              (signsFrom(document.authorities, active, delay) ?? 0) <= at,
              `${active.id} signs too early`,
            );
            const root = rootOf(active);
            if (root !== undefined && root !== rootOf(first))
              assert.ok(
                (shownSince.get(root) ?? at) + delay <= at,
                `pods may not have the root of ${active.id}`,
              );
            const end = endOf(active, trustDomain) ?? Number.POSITIVE_INFINITY;
            const longest = kind === 'X509' ? timing.certificateSeconds : 3_600;
            if (kind === 'JWT-ES256' && active.id !== jwt.id) {
              const publishedAt = Date.parse(active.publishedAt ?? '') / 1000;
              assert.ok(publishedAt + delay <= at, `verifiers may not have ${active.id}`);
            }
            if (isOnTime)
              assert.ok(end - at >= longest + marginSeconds || kind !== 'X509', `${active.id} ends too soon`);
            // Each second authority signs only short certificates and tokens, which only the record shows.
            const lifetime = document.authorities.indexOf(active) % 2 === 0 ? longest : 600;
            const until = Math.min(end, at + lifetime);
            const known = record.get(active.id);
            if (known === undefined || until > known) {
              record.set(active.id, raisedUntil(known, { kind, until, now: at }));
            }
            validUntil.set(active.id, Math.max(until, validUntil.get(active.id) ?? 0));
          }
          const published = new Set(
            document.authorities.filter(({ state }) => isPublished(state)).map(({ id }) => id),
          );
          for (const [id, until] of validUntil) assert.ok(until < at || published.has(id), `${id} is needed`);
          assert.ok(document.authorities.length <= 24, `${document.authorities.length} authorities`);
        }
        const kinds = rotatedKinds(document);
        const isReserve = ({ kind, state }: AuthorityRecord) => isJwtKind(kind) && state === 'trusted';
        assert.ok(kinds.length === 2 || !document.authorities.some(isReserve));
        for (const kind of kinds) {
          const end = at + 3 * day;
          while (at < end && !isSigning(kind, document, at)) {
            publish();
            const step = policyStep(document, kind, { now: at, timing: times, policy });
            assert.ok(step && step.kind !== 'blocked', JSON.stringify(step));
            if (step.kind === 'wait') at = step.until;
            else document = await take(document, kind, step, { at, policy, times });
          }
          assert.ok(isSigning(kind, document, at), `nothing of ${kind} signs again`);
        }
      }),
      {
        numRuns: 16,
        examples: [
          [eager, [act, act, { kind: 'away', away: 600 }, act, act]],
          [eager, [act, act, taintJwt, { ...taintJwt, verb: 'untaint' }, act]],
        ],
      },
    );
  });
});
