import 'reflect-metadata';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Pkcs10CertificateRequest } from '@peculiar/x509';
import fc from 'fast-check';
import { readAuthority } from '../../signer/authority/authority.ts';
import type { Change } from '../../signer/authority/change.ts';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { crossSign } from '../../signer/authority/cross-sign.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { rootOf } from '../../signer/authority/material.ts';
import { signsFrom } from '../../signer/authority/may-sign.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import { nextStep } from '../../signer/authority/rotation.ts';
import { policyStep } from '../../signer/authority/rotation-plan.ts';
import { raisedUntil, signedUntilKeyOf } from '../../signer/authority/signed-until.ts';
import { type AuthorityState, isPublished } from '../../signer/authority/states.ts';
import { applyVerb, safeFrom, type Verb, verbs } from '../../signer/authority/verbs.ts';
import { dnsConstraintsOf } from '../../spiffe/name-constraints.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { nameConstraints } from '../spiffe/pki/name-constraints.ts';
import { makeCa } from './authorities.ts';
import { usualPolicy } from './usual-policy.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const timing = { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 };
const facts = { now, timing, published: undefined };
const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 10 * day });
const unsigned = await prepared('ca-2');
const third = await prepared('ca-3');
const second = (state: AuthorityState, more: Partial<AuthorityRecord> = {}): AuthorityRecord => ({
  ...unsigned,
  state,
  ...(isPublished(state) && { publishedAt: rfc3339(now - day) }),
  ...more,
});
/** CAs below one root that is kept offline. */
const validity = { notBefore: now - 30 * day, notAfter: now + 365 * day };
const companyRoot = await makeCa({ ...validity, subject: 'CN=company root' });
async function company(id: string): Promise<AuthorityRecord> {
  const ca = await makeCa({ ...validity, subject: `CN=${id}`, issuer: companyRoot, pathLen: 0 });
  return {
    ...{ id, kind: 'X509', state: 'prepared', tainted: false, createdAt: rfc3339(now - day) },
    ...{ certificate: companyRoot.certificate, intermediates: [ca.certificate], privateKey: ca.privateKey },
  };
}
const issuing: AuthorityRecord = {
  ...(await company('issuing-1')),
  ...{ state: 'active', publishedAt: rfc3339(now - 10 * day), activatedAt: rfc3339(now - 10 * day) },
};
const pools = {
  'CAs with roots of their own': [first, unsigned, third],
  'CAs below the root of a company': [issuing, await company('issuing-2'), await company('issuing-3')],
  'a CA of a company after one of our own': [first, await company('issuing-2'), unsigned],
};
const poolWith = (...records: AuthorityRecord[]): PoolDocument => newPool(trustDomain, first, ...records);
const stateOf = ({ authorities }: PoolDocument, id: string) =>
  authorities.find((each) => each.id === id)?.state;

async function prepared(id: string, at = now - day): Promise<AuthorityRecord> {
  const made = await createAuthority({ id, trustDomain, now: at });
  const { publishedAt: _, activatedAt: __, ...rest } = made;
  return { ...rest, state: 'prepared' };
}

function changed(document: PoolDocument, verb: Verb, id: string, at = now): Change {
  const result = applyVerb(document, verb, id, { ...facts, now: at });
  assert.ok(result.ok, JSON.stringify(result));
  return result;
}

describe('a verb of `kubespiffe ca`', () => {
  const allowed: [verb: Verb, from: AuthorityState, to: AuthorityState | undefined][] = [
    ['preview', 'prepared', 'preview'],
    ['trust', 'prepared', 'trusted'],
    ['trust', 'preview', 'trusted'],
    ['activate', 'trusted', 'active'],
    ['remove', 'prepared', undefined],
    ['remove', 'preview', undefined],
    ['remove', 'retired', undefined],
  ];
  for (const [verb, from, to] of allowed) {
    it(`${verb} makes ${to ?? 'nothing'} of an authority that is ${from}, and raises the sequence`, () => {
      const before = poolWith(second(from));
      const { document, consequence } = changed(before, verb, 'ca-2');
      assert.equal(stateOf(document, 'ca-2'), to);
      assert.equal(document.sequence, before.sequence + 1);
      assert.equal(consequence, undefined);
    });
  }

  it('remove deletes an unused authority at once, and for others returns until when a certificate may be valid', () => {
    const at = (until: number) => ({
      ...{ now, published: undefined },
      timing: { ...timing, mayHaveSignedUntil: () => until },
    });
    const fresh = applyVerb(poolWith(second('preview')), 'remove', 'ca-2', at(now));
    assert.ok(fresh.ok && fresh.consequence === undefined);
    const used = applyVerb(poolWith(second('retired')), 'remove', 'ca-2', at(now + 1));
    assert.ok(used.ok);
    assert.match(used.consequence ?? '', /ca-2 may have signed what is valid until/);
    assert.equal(safeFrom('remove', second('retired'), poolWith(second('retired')), at(now + 60)), now + 60);
  });

  it('a verb refuses every other state, and names the verb that comes next', () => {
    const states: AuthorityState[] = ['prepared', 'preview', 'trusted', 'active', 'retiring', 'retired'];
    for (const verb of Object.keys(verbs) as Verb[]) {
      for (const state of states.filter((each) => !(verbs[verb] as readonly string[]).includes(each))) {
        const result = applyVerb(newPool(trustDomain, second(state)), verb, 'ca-2', facts);
        assert.ok(!result.ok);
        assert.match(result.what, new RegExp(`ca-2 is ${state}, and ${verb} is for`));
        const next =
          state === 'active'
            ? /^it is the active one of its kind; `kubespiffe ca status` /
            : /`kubespiffe ca \w+ ca-2`/;
        assert.match(result.remedy, next);
        assert.doesNotMatch(result.remedy, /taint/);
      }
    }
  });

  it('a verb for an unknown authority names the known ones', () => {
    const result = applyVerb(poolWith(), 'trust', 'ca-9', facts);
    assert.deepEqual(result, {
      ok: false,
      what: 'there is no authority ca-9 in the pool',
      remedy: 'name one of ca-1',
    });
  });
});

describe('activate', () => {
  it('activate makes the previous authority verify only', () => {
    const { document } = changed(poolWith(second('trusted')), 'activate', 'ca-2');
    const [before, after] = document.authorities;
    assert.equal(before?.state, 'retiring');
    assert.equal(before?.deactivatedAt, rfc3339(now));
    assert.equal(after?.activatedAt, rfc3339(now));
  });

  it('activate has a consequence before every verifier can have the root', () => {
    const fresh = second('trusted', { publishedAt: rfc3339(now - 60) });
    const { consequence } = changed(poolWith(fresh), 'activate', 'ca-2');
    assert.match(consequence ?? '', /may sign from 2026-11-29T12:05:30Z on.*no certificates are signed/);
  });

  it('activate has a consequence while the root is in the bundle for less than the delay, even if the pool has an earlier date', () => {
    const late = { ...timing, shownSince: new Map([[rootOf(unsigned) ?? '', now - 60]]) };
    const result = applyVerb(poolWith(second('trusted')), 'activate', 'ca-2', { ...facts, timing: late });
    assert.ok(result.ok);
    assert.match(result.consequence ?? '', /may sign from 2026-11-29T12:05:30Z on/);
    assert.deepEqual(nextStep(poolWith(second('trusted')), 'X509', { now, timing: late }), {
      ...{ kind: 'wait', for: 'activate', id: 'ca-2' },
      until: now + 330,
    });
    const tainted = applyVerb(poolWith(second('trusted')), 'taint', 'ca-1', { ...facts, timing: late });
    assert.equal(tainted.ok && stateOf(tainted.document, 'ca-2'), 'trusted');
  });

  for (const [why, more] of [
    ['is tainted and never signs again', { tainted: true }],
    ['has no private key', { privateKey: undefined }],
  ] as [string, Partial<AuthorityRecord>][]) {
    it(`activate is refused for an authority that ${why}`, () => {
      const result = applyVerb(poolWith(second('trusted', more)), 'activate', 'ca-2', facts);
      assert.ok(!result.ok && result.what.includes(why), JSON.stringify(result));
    });
  }
});

describe('taint and untaint', () => {
  it('taint lets the authority that is ready sign in place of the tainted one', () => {
    const { document, notes } = changed(poolWith(second('trusted')), 'taint', 'ca-1');
    assert.equal(stateOf(document, 'ca-1'), 'retiring');
    assert.equal(stateOf(document, 'ca-2'), 'active');
    assert.match(notes.join(), /ca-2 was ready/);
  });

  it('taint returns from when on another authority is ready', () => {
    const fresh = second('trusted', { publishedAt: rfc3339(now) });
    const { document, notes } = changed(poolWith(fresh), 'taint', 'ca-1');
    assert.equal(stateOf(document, 'ca-1'), 'active');
    assert.match(notes.join(), /nothing signs.*12:06:30Z on: `kubespiffe ca activate ca-2`/);
  });

  it('a verb for a tainted authority that is still active does not say that it signs', () => {
    const { document } = changed(poolWith(), 'taint', 'ca-1');
    for (const verb of ['activate', 'trust', 'preview', 'remove'] as const) {
      const what = `authority ca-1 is active, and ${verb} is for one that is ${verbs[verb].join(' or ')}`;
      const remedy = 'it is tainted and never signs again: make another one active';
      assert.deepEqual(applyVerb(document, verb, 'ca-1', facts), { ok: false, what, remedy });
    }
  });

  it('untaint never lets an authority sign again', () => {
    const tainted = changed(poolWith(), 'taint', 'ca-1').document;
    const { document } = changed(tainted, 'untaint', 'ca-1');
    assert.equal(stateOf(document, 'ca-1'), 'retiring');
    assert.ok(!applyVerb(document, 'activate', 'ca-1', facts).ok);
  });
});

describe('a CA below the root of a tainted one', () => {
  const crossSigned = async (): Promise<PoolDocument> => {
    const made = await crossSign(poolWith(second('trusted', { publishedAt: rfc3339(now) })), {
      ...{ id: 'ca-2', by: 'ca-1', now },
    });
    assert.ok(made.ok, JSON.stringify(made));
    return changed(made.document, 'trust', 'ca-2-by-ca-1').document;
  };

  it('a CA below a tainted root takes over neither by taint nor by a rotation, although it was ready before', async () => {
    const pool = await crossSigned();
    const activate = { kind: 'change', verb: 'activate', id: 'ca-2-by-ca-1' } as const;
    assert.deepEqual(nextStep(pool, 'X509', facts), activate);
    const { document, notes } = changed(pool, 'taint', 'ca-1');
    assert.equal(stateOf(document, 'ca-2-by-ca-1'), 'trusted');
    assert.match(notes.join(), /nothing signs in its place now; authority ca-2 is ready from/);
    const step = nextStep(document, 'X509', facts);
    assert.ok(step.kind === 'wait' && step.id === 'ca-2', JSON.stringify(step));
  });

  it('a CA below a tainted root becomes active only by force', async () => {
    const { document } = changed(await crossSigned(), 'taint', 'ca-1');
    const { consequence } = changed(document, 'activate', 'ca-2-by-ca-1');
    assert.match(consequence ?? '', /root of authority ca-2-by-ca-1 is tainted/);
  });

  it('a CA below a tainted root is replaced by a rotation of the signer', async () => {
    const active = changed(await crossSigned(), 'activate', 'ca-2-by-ca-1').document;
    const { document } = changed(active, 'taint', 'ca-1');
    const at = now + timing.rootPropagationSeconds;
    assert.deepEqual(policyStep(document, 'X509', { now: at, timing, policy: usualPolicy }), {
      ...{ kind: 'change', verb: 'activate', id: 'ca-2' },
    });
  });
});

describe('a tainted authority', () => {
  for (const [verb, state] of [
    ['preview', 'prepared'],
    ['trust', 'prepared'],
    ['trust', 'preview'],
  ] as const) {
    it(`a tainted authority is not published: ${verb} of one that is ${state} is refused`, () => {
      const result = applyVerb(poolWith(second(state, { tainted: true })), verb, 'ca-2', facts);
      assert.ok(
        !result.ok && /ca-2 is tainted and must not be published/.test(result.what),
        JSON.stringify(result),
      );
      assert.match(result.remedy, /`kubespiffe ca remove ca-2`/);
    });
  }
});

describe('remove', () => {
  it('remove is refused as long as the root is in the ClusterTrustBundle', () => {
    const { document } = changed(poolWith(second('trusted')), 'retire', 'ca-2', now + 400 * day);
    const root = rootOf(unsigned) ?? '';
    const result = applyVerb(document, 'remove', 'ca-2', { ...facts, published: new Set([root]) });
    assert.ok(!result.ok && result.isPassing && result.what.includes('still in the ClusterTrustBundle'));
  });
});

describe('an authority in reserve', () => {
  const old = async (id: string) => {
    const made = await prepared(id, now - 365 * day + 1_800);
    return { ...made, state: 'trusted' as const, publishedAt: rfc3339(now - 100 * day) };
  };

  it('an authority in reserve is not ready when it expires within an hour: taint leaves it, and a rotation prepares another', async () => {
    const pool = poolWith(await old('ca-2'));
    const { document, notes } = changed(pool, 'taint', 'ca-1');
    assert.equal(stateOf(document, 'ca-1'), 'active');
    assert.match(notes.join(), /prepare another one/);
    assert.deepEqual(nextStep(pool, 'X509', facts), { kind: 'prepare' });
  });

  it('an authority in reserve is not ready as long as its root is not in the ClusterTrustBundle', () => {
    const pool = poolWith(second('trusted'));
    const unseen = { ...facts, published: new Set([rootOf(first) ?? '']) };
    const result = applyVerb(pool, 'activate', 'ca-2', unseen);
    assert.ok(!result.ok && result.isPassing && result.what.includes('not in the ClusterTrustBundle yet'));
    const tainted = applyVerb(pool, 'taint', 'ca-1', unseen);
    assert.ok(tainted.ok && stateOf(tainted.document, 'ca-2') === 'trusted');
    const seen = { ...facts, published: new Set([rootOf(first) ?? '', rootOf(unsigned) ?? '']) };
    assert.ok(applyVerb(pool, 'activate', 'ca-2', seen).ok);
  });

  it('a JWT key in reserve is not ready until a replica has published it and the delay has passed', async () => {
    const then = now - 30 * day;
    const one = await createJwtAuthority({ key: 'es256', now: then, id: 'jwt-1' });
    const next = await createJwtAuthority({ key: 'es256', now: now - day, id: 'jwt-2' });
    const pool = newPool(trustDomain, first, one, { ...next, state: 'trusted' });
    const [kid = '', nextKid = ''] = [one, next].map((each) => signedUntilKeyOf(each, trustDomain));
    const hidden = { ...facts, publishedKeys: new Set([kid]) };
    const result = applyVerb(pool, 'activate', 'jwt-2', hidden);
    assert.ok(!result.ok && /no signer has published the key of authority jwt-2 yet/.test(result.what));
    assert.ok(result.isPassing);
    const tainted = applyVerb(pool, 'taint', 'jwt-1', hidden);
    assert.equal(tainted.ok && stateOf(tainted.document, 'jwt-2'), 'trusted');
    const late = { ...timing, shownSince: new Map([[nextKid, now - 60]]) };
    const seen = { ...facts, timing: late, publishedKeys: new Set([kid, nextKid]) };
    const early = applyVerb(pool, 'activate', 'jwt-2', seen);
    assert.match((early.ok && early.consequence) || '', /may sign from 2026-11-29T12:14:00Z on.*no tokens/);
    const until = now + 840;
    assert.deepEqual(nextStep(pool, 'JWT-ES256', seen), {
      kind: 'wait',
      for: 'activate',
      id: 'jwt-2',
      until,
    });
    // A bundle that an older version wrote says nothing of keys.
    const unknown = applyVerb(pool, 'activate', 'jwt-2', { ...facts, publishedKeys: new Set() });
    assert.ok(unknown.ok && unknown.consequence === undefined);
  });

  it('a JWT key in reserve is not ready without publishedAt, because the signer would not use it', async () => {
    const { publishedAt: _, ...key } = await createJwtAuthority({ key: 'es256', now, id: 'jwt-2' });
    const pool = newPool(trustDomain, first, { ...key, state: 'trusted' });
    const result = applyVerb(pool, 'activate', 'jwt-2', facts);
    assert.ok(
      !result.ok && /does not say since when the key of authority jwt-2 is published/.test(result.what),
    );
    assert.deepEqual(nextStep(pool, 'JWT-ES256', facts), { kind: 'prepare' });
  });
});

describe('the next CA', () => {
  it('the next CA may sign the DNS names of the active one, and has a key of the same type', async () => {
    const dns = await createAuthority({
      ...{ id: 'dns-1', trustDomain: undefined, now, keyType: 'ecdsa-p384' },
      permittedDnsNames: ['svc'],
    });
    const { trustDomain: _, ...pool } = newPool(trustDomain, dns);
    const result = await prepareAuthority(pool, { kind: 'X509', now });
    assert.ok(result.ok);
    const next = readAuthority(result.document.authorities[1] as AuthorityRecord, 'authority', undefined);
    assert.ok(next.ok);
    assert.equal(next.authority.keyType, 'ECDSA P-384');
    assert.deepEqual(next.authority.dnsConstraints, [{ permitted: ['svc'], excluded: [] }]);
  });

  type Limits = Parameters<typeof nameConstraints>[0];
  const dns = (...bases: string[]) => bases.map((base) => ['DNS', base] as const);

  /** The pool of a CA whose certificates have these limits, the root first. */
  async function limitedPool(...chain: [Limits, ...Limits[]]): Promise<PoolDocument> {
    const [root, ...others] = chain.map((wish) => ({
      ...validity,
      furtherExtensions: [nameConstraints(wish)],
    }));
    const cas = [await makeCa({ ...validity, ...root, subject: 'CN=root' })];
    for (const more of others) {
      cas.unshift(
        await makeCa({ ...more, subject: `CN=below ${cas.length}`, ...(cas[0] && { issuer: cas[0] }) }),
      );
    }
    const pems = cas.map(({ certificate }) => certificate);
    return newPool(trustDomain, {
      ...issuing,
      ...{ certificate: pems.at(-1) ?? '', intermediates: pems.slice(0, -1) },
      privateKey: cas[0]?.privateKey ?? '',
    });
  }

  const rows: [what: string, chain: [Limits, ...Limits[]], permitted: string[], excluded: string[]][] = [
    [
      'not those that the active one excludes',
      [{ permitted: dns('svc.cluster.local'), excluded: dns('kube-system.svc.cluster.local') }],
      ['svc.cluster.local'],
      ['kube-system.svc.cluster.local'],
    ],
    ['none where the active one excludes all', [{ excluded: dns('') }], [], ['']],
    ['those below a base with a leading dot', [{ permitted: dns('.corp.example') }], ['.corp.example'], []],
    [
      'those of an excluded base with a leading dot not',
      [{ excluded: dns('.Corp.example') }],
      [],
      ['.corp.example'],
    ],
    ['all where every name is permitted', [{ permitted: dns('') }], [], []],
    [
      'what all certificates of the chain permit',
      [
        { permitted: dns('svc', 'example'), excluded: dns('bank.svc') },
        { permitted: dns('shop.svc', 'web.bank.svc', '.example', 'org'), excluded: dns('secret.shop.svc') },
      ],
      ['shop.svc', 'web.bank.svc', '.example'],
      ['bank.svc', 'secret.shop.svc'],
    ],
    ['none where a chain permits none', [{ permitted: dns('svc') }, { permitted: dns('example') }], [], ['']],
  ];
  for (const [what, chain, permitted, excluded] of rows) {
    it(`the next CA may sign the DNS names of the active one: ${what}`, async () => {
      const document = await limitedPool(...chain);
      const result = await prepareAuthority(document, { kind: 'X509', now });
      assert.ok(result.ok, JSON.stringify(result));
      const next = readAuthority(result.document.authorities[1] as AuthorityRecord, 'authority', trustDomain);
      assert.ok(next.ok);
      const isLimited = permitted.length + excluded.length > 0;
      assert.deepEqual(next.authority.dnsConstraints, isLimited ? [{ permitted, excluded }] : []);
    });

    it(`the request for the next CA asks for the DNS names of the active one: ${what}`, async () => {
      const document = await limitedPool(...chain);
      const result = await prepareAuthority(document, { kind: 'X509', now, asRequest: true });
      assert.ok(result.ok, JSON.stringify(result));
      assert.deepEqual(limitsOfRequest(result.document.authorities[1]?.request), { permitted, excluded });
    });
  }

  it('the next CA is not made if the active one has limits that are not DNS names, but can be asked for', async () => {
    const document = await limitedPool({ excluded: dns('*.svc') });
    const refused = await prepareAuthority(document, { kind: 'X509', now });
    assert.ok(!refused.ok);
    assert.match(refused.what, /authority issuing-1 have "\*\.svc", which is not a DNS name/);
    assert.match(refused.remedy, /kubespiffe ca csr/);
    const asked = await prepareAuthority(document, { kind: 'X509', now, asRequest: true });
    assert.ok(asked.ok);
    assert.deepEqual(limitsOfRequest(asked.document.authorities[1]?.request), {
      permitted: [],
      excluded: [],
    });
  });

  function limitsOfRequest(pem = '') {
    const wanted = new Pkcs10CertificateRequest(pem).getExtension('2.5.29.30');
    if (!wanted) return { permitted: [], excluded: [] };
    const value = new Uint8Array(wanted.value);
    const read = dnsConstraintsOf({
      extensions: [{ oid: '2.5.29.30', name: 'nameConstraints', critical: true, value }],
    });
    assert.ok(read.ok && read.value);
    return read.value;
  }
});

describe('a rotation', () => {
  for (const kind of ['X509', 'JWT-ES256'] as const) {
    it(`a rotation of ${kind} goes through all states, and continues after an interruption`, async () => {
      const key = await createJwtAuthority({ key: 'es256', now: now - 10 * day });
      let document = newPool(trustDomain, first, key);
      let at = now;
      const steps: string[] = [];
      for (;;) {
        // Nothing is kept between two steps but the document.
        const step = nextStep(document, kind, { now: at, timing });
        steps.push(step.kind === 'change' ? step.verb : step.kind);
        if (step.kind === 'wait') {
          at = step.until;
          continue;
        }
        const result =
          step.kind === 'prepare'
            ? await prepareAuthority(document, { kind, now: at })
            : applyVerb(document, step.verb, step.id, { ...facts, now: at });
        assert.ok(result.ok && result.consequence === undefined, JSON.stringify(result));
        document = result.document;
        if (step.kind === 'change' && step.verb === 'retire') break;
      }
      assert.deepEqual(steps, ['prepare', 'trust', 'wait', 'activate', 'wait', 'retire']);
    });
  }

  it('a rotation activates a CA in reserve at once', () => {
    const step = nextStep(poolWith(second('trusted')), 'X509', facts);
    assert.deepEqual(step, { kind: 'change', verb: 'activate', id: 'ca-2' });
  });

  for (const kind of ['X509', 'JWT-ES256'] as const) {
    it(`a rotation of ${kind} prepares the next one at once when nothing signs, even if an old one is still needed`, async () => {
      const jwt = (id: string) => createJwtAuthority({ key: 'es256', now: now - 10 * day, id });
      const pool = newPool(trustDomain, first, await jwt('jwt-1'), {
        ...(kind === 'X509' ? second('trusted') : { ...(await jwt('jwt-2')), state: 'trusted' }),
      });
      const [one, two] = kind === 'X509' ? ['ca-1', 'ca-2'] : ['jwt-1', 'jwt-2'];
      const switched = changed(pool, 'taint', one).document;
      assert.equal(nextStep(switched, kind, facts).kind, 'wait', 'the old one has to be retired first');
      const { document } = changed(switched, 'taint', two);
      assert.deepEqual(nextStep(document, kind, facts), { kind: 'prepare' });
    });
  }

  it('a rotation skips authorities that cannot sign', () => {
    const lame = [
      second('trusted', { id: 'a', tainted: true }),
      second('prepared', { id: 'b', tainted: true }),
    ];
    assert.deepEqual(nextStep(poolWith(...lame), 'X509', facts), { kind: 'prepare' });
  });
});

describe('any steps of a pool without --force', () => {
  /** Certificates may be shorter than the longest ones, so that only the record shows when the last one ends. */
  const lifetimes = [3_600, day / 2, timing.certificateSeconds];
  /** How long a replica may sign by a pool that was changed. */
  const staleSeconds = 30;
  /** Where a rotation leads to. */
  const forward = {
    ...{ prepared: 'trust', preview: 'trust', trusted: 'activate' },
    ...{ active: 'retire', retiring: 'retire', retired: 'remove' },
  } as const satisfies Record<AuthorityState, Verb>;
  const at = fc.nat({ max: 3 });
  const any = fc.record({ verb: fc.constantFrom(...(Object.keys(verbs) as Verb[])), at });
  const wait = fc.record({
    waitSeconds: fc.constantFrom(1, 20, 60, 400, 1_000, day / 2, 2 * day),
    lifetimeSeconds: fc.constantFrom(...lifetimes),
  });
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ verb: fc.constant('forward' as const), at }) },
    { weight: 3, arbitrary: any },
    { weight: 8, arbitrary: wait },
    { weight: 1, arbitrary: fc.constant({ isRecordLost: true as const }) },
  );

  const of = (at: number, verb: Verb | 'forward' = 'forward') => ({ verb, at });
  /** The last CA below a root has signed short certificates. Those of the one before it, which is retired, are valid for longer. */
  const lastBelowRoot = [
    ...[of(1), { waitSeconds: 1, lifetimeSeconds: 3_600 }, of(1), of(0)],
    ...[of(1, 'taint'), of(1, 'untaint'), { waitSeconds: day / 2, lifetimeSeconds: 3_600 }, of(1)],
  ];

  for (const [name, records] of Object.entries(pools)) {
    it(`what an authority has signed stays verifiable as long as it is valid: ${name}`, () => {
      let retired = 0;
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
          let document: PoolDocument = newPool(trustDomain, ...records);
          let at = now;
          let lifetime = timing.certificateSeconds;
          /** By root, since what one CA of a company signed is verified as long as another one keeps its root. */
          const validUntil = new Map<string, number>();
          const signedLast = new Map<string, number>();
          const tainted = new Set<string>();
          // The entry of a CA begins when it is made. The first one is older than the record.
          const record = new Map(records.slice(1).map(({ id }) => [id, now]));
          const times = { ...timing, mayHaveSignedUntil: ({ id }: AuthorityRecord) => record.get(id) };
          const rootsOf = (isWanted: (each: AuthorityRecord) => boolean) =>
            new Set(document.authorities.filter(isWanted).map((each) => rootOf(each) ?? ''));

          /** What a replica does: it raises the entry of the record, and signs. */
          const sign = ({ id, kind, ...rest }: AuthorityRecord) => {
            const until = at + lifetime;
            const known = record.get(id);
            if (known === undefined || until > known)
              record.set(id, raisedUntil(known, { kind, until, now: at }));
            const root = rootOf({ id, kind, ...rest }) ?? '';
            validUntil.set(root, Math.max(until, validUntil.get(root) ?? 0));
          };

          for (const each of steps) {
            if ('isRecordLost' in each) record.clear();
            else if ('waitSeconds' in each) {
              at += each.waitSeconds;
              lifetime = each.lifetimeSeconds;
            } else {
              const one = document.authorities[each.at % document.authorities.length] ?? first;
              const verb = each.verb === 'forward' ? forward[one.state] : each.verb;
              const result = applyVerb(document, verb, one.id, { ...facts, timing: times, now: at });
              if (result.ok && result.consequence === undefined) {
                document = result.document;
                if (verb === 'retire') retired += 1;
              }
            }
            const active = document.authorities.filter(({ state }) => state === 'active');
            assert.ok(active.length <= 1);
            for (const authority of document.authorities) if (authority.tainted) tainted.add(authority.id);
            const [signing] = active;
            if (signing && !signing.tainted) {
              assert.ok(!tainted.has(signing.id), 'a tainted authority signs again');
              const from = signsFrom(document.authorities, signing, timing.rootPropagationSeconds) ?? 0;
              assert.ok(from <= at, 'it was activated too early');
              signedLast.set(signing.id, at);
            }
            for (const one of records) {
              const last = signedLast.get(one.id);
              if (last !== undefined && at <= last + staleSeconds) sign(one);
            }
            const published = rootsOf(({ state }) => isPublished(state));
            for (const [root, until] of validUntil)
              assert.ok(until < at || published.has(root), `${root} is needed`);
          }
        }),
        { numRuns: 100, examples: [[lastBelowRoot]] },
      );
      assert.ok(retired > 10, `${retired} authorities were retired`);
    });
  }
});
