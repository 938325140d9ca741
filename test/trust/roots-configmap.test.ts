import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import type { ConfigMap } from '../../signer/kube/types.ts';
import { trustDomainLabel } from '../../signer/trust/labels.ts';
import { rootsPem } from '../../signer/trust/published-documents.ts';
import {
  type DesiredRoots,
  desiredRoots,
  nextStep,
  type ObservedConfigMap,
  type OptedIn,
  toObservedConfigMap,
  toOptedIn,
} from '../../signer/trust/roots-configmap.ts';
import { noSiblings } from '../../signer/trust/siblings.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
const optedIn: OptedIn = { isTerminating: false };

function compile(authorities: readonly AuthorityRecord[]): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

describe('the roots of a namespace', () => {
  let first: AuthorityRecord;
  let second: AuthorityRecord;
  let desired: DesiredRoots;
  before(async () => {
    first = await createAuthority({ id: '1', trustDomain, now });
    second = { ...(await createAuthority({ id: '2', trustDomain, now })), state: 'trusted' };
    desired = ofPool(compile([first, second]));
  });

  function ofPool(pool: Pool): DesiredRoots {
    const roots = desiredRoots(pool);
    assert.ok(roots.ok);
    return roots.value;
  }

  /** A ConfigMap as a watch would show it after it was applied, with what a test wants to be different. */
  function shown({ metadata, ...content }: Partial<ConfigMap> = {}): ObservedConfigMap {
    return toObservedConfigMap({
      metadata: {
        name: 'kubespiffe-roots',
        uid: 'u',
        resourceVersion: '7',
        labels: { ...desired.labels },
        ...metadata,
      },
      data: { 'roots.pem': desired.pem },
      ...content,
    });
  }

  it('the roots of a namespace are what the token endpoint serves, for any order of the pool', () => {
    assert.equal(desired.pem, rootsPem(compile([first, second]))?.bytes.toString());
    assert.deepEqual(ofPool(compile([second, first])), desired);
  });

  it('roots of other trust domains have keys of their own in the ConfigMap, as far as they fit beside our own', () => {
    const pool = compile([first]);
    const ofPeers = (peers: [string, string][]) => {
      const roots = desiredRoots(pool, { siblings: noSiblings, peers: new Map(peers) });
      assert.ok(roots.ok);
      return roots.value;
    };
    const long = `${'a'.repeat(200)}.example`;
    const two = ofPeers([
      ['b.example', 'B'],
      [long, 'A'],
    ]);
    assert.deepEqual(
      Object.keys(two.peers).sort(),
      [`peer.${trustDomainLabel(long)}.pem`, 'peer.b.example.pem'].sort(),
    );
    assert.equal(two.pem, ofPeers([]).pem);
    const observed = shown({ data: { 'roots.pem': two.pem, ...two.peers, extra: '' } });
    assert.deepEqual([observed.peersDigest, observed.holdsMore], [two.peersDigest, true]);
    assert.deepEqual(observed.peerKeys.toSorted(), Object.keys(two.peers).sort());
  });

  it('a trust domain with more than 64 KiB of roots is left out, and those of later names are not', () => {
    const kib = 1024;
    const peers = new Map([
      ['a.example', 'A'.repeat(1024 * kib)],
      ['b.example', 'B'.repeat(64 * kib)],
      ['c.example', 'C'.repeat(64 * kib + 1)],
      ['d.example', 'D'],
    ]);
    const roots = desiredRoots(compile([first]), { siblings: noSiblings, peers });
    assert.ok(roots.ok);
    assert.deepEqual(Object.keys(roots.value.peers).sort(), ['peer.b.example.pem', 'peer.d.example.pem']);
    assert.deepEqual(
      [...roots.value.leftOut],
      [
        ['c.example', 'its roots take 65537 bytes of PEM; at most 65536 are published'],
        ['a.example', 'its roots take 1048576 bytes of PEM; at most 65536 are published'],
      ],
    );
  });

  it('roots of many trust domains fill the ConfigMap, and large ones do not exclude smaller ones', () => {
    const large = Array.from(
      { length: 16 },
      (_, n) => [`a${n + 10}.example`, 'A'.repeat(64 * 1024)] as const,
    );
    // By name these two would come after the large ones, and the second one would not fit.
    const peers = new Map([
      ...large,
      ['b.example', 'B'.repeat(60 * 1024)],
      ['c.example', 'C'.repeat(8 * 1024)],
    ]);
    const roots = desiredRoots(compile([first]), { siblings: noSiblings, peers });
    assert.ok(roots.ok);
    for (const name of ['b', 'c']) assert.ok(`peer.${name}.example.pem` in roots.value.peers, name);
    assert.deepEqual(
      [...roots.value.leftOut],
      ['a24', 'a25'].map((name) => [
        `${name}.example`,
        'its 65536 bytes of PEM do not fit; a ConfigMap holds 1 MiB',
      ]),
    );
  });

  it('the ConfigMap with roots is never made empty', async () => {
    const keysOnly = compile([await createJwtAuthority({ key: 'es256', now })]);
    assert.deepEqual(desiredRoots(keysOnly), { ok: false, reason: 'the pool has no root to publish' });
  });

  it('published roots are known by fingerprint if the ConfigMap is ours, and are not read from others', () => {
    const pool = compile([first, second]);
    assert.deepEqual([...shown().roots].sort(), pool.roots.map(({ sha256Hex }) => sha256Hex).sort());
    const foreign = shown({ metadata: { name: 'kubespiffe-roots', labels: {} } });
    assert.deepEqual([foreign.isOurs, foreign.pem, foreign.roots.size], [false, undefined, 0]);
  });

  const name = 'kubespiffe-roots';
  const other = { 'app.kubernetes.io/managed-by': 'Helm' };
  const steps: [
    when: string,
    namespace: OptedIn | undefined,
    () => ObservedConfigMap | undefined,
    kind: string,
    difference?: RegExp,
  ][] = [
    ['all is well', optedIn, () => shown(), 'nothing'],
    ['there are none', optedIn, () => undefined, 'publish', /missing/],
    ['they are others', optedIn, () => shown({ data: { 'roots.pem': 'none' } }), 'publish', /roots\.pem/],
    [
      'one is missing',
      optedIn,
      () => shown({ data: { 'roots.pem': rootsOf(first) } }),
      'publish',
      /roots\.pem/,
    ],
    ['there is no key', optedIn, () => shown({ data: {} }), 'publish', /roots\.pem/],
    [
      'the key is binary',
      optedIn,
      () => shown({ data: {}, binaryData: { 'roots.pem': '' } }),
      'publish',
      /roots\.pem/,
    ],
    [
      'a label is gone',
      optedIn,
      () => shown({ metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'kubespiffe' } } }),
      'publish',
      /the label k8s\.spiffe\.io\/canarying/,
    ],
    [
      'others have added to it',
      optedIn,
      () => shown({ data: { 'roots.pem': desired.pem, a: '' } }),
      'nothing',
    ],
    [
      'it has roots of a trust domain that is federated no more',
      optedIn,
      () => shown({ data: { 'roots.pem': desired.pem, 'peer.a.example.pem': '' } }),
      'publish',
      /other trust domains/,
    ],
    ['it is not ours', optedIn, () => shown({ metadata: { name, labels: {} } }), 'foreign'],
    ['it is managed by another', optedIn, () => shown({ metadata: { name, labels: other } }), 'foreign'],
    ['the namespace is ending', { isTerminating: true }, () => undefined, 'nothing'],
    ['the namespace is ending with them', { isTerminating: true }, () => shown(), 'nothing'],
    ['the namespace does not ask', undefined, () => undefined, 'nothing'],
    ['the namespace does not ask any more', undefined, () => shown(), 'withdraw', /takes no roots/],
    [
      'it is not ours, and the namespace does not ask',
      undefined,
      () => shown({ metadata: { name, labels: {} } }),
      'nothing',
    ],
  ];
  const rootsOf = (record: AuthorityRecord) => ofPool(compile([record])).pem;
  for (const [when, namespace, published, kind, difference] of steps) {
    it(`the ConfigMap of roots when ${when}: ${kind}`, () => {
      const step = nextStep(desired, namespace, published());
      assert.equal(step.kind, kind);
      if (difference) assert.match('difference' in step ? step.difference : '', difference);
    });
  }

  it('ConfigMaps stay unchanged without a pool, except in namespaces without the label', () => {
    assert.equal(nextStep(undefined, optedIn, undefined).kind, 'nothing');
    assert.equal(nextStep(undefined, optedIn, shown({ data: {} })).kind, 'nothing');
    assert.equal(nextStep(undefined, undefined, shown()).kind, 'withdraw');
  });

  it('the observed roots show whether the ConfigMap holds other keys', () => {
    assert.equal(shown().holdsMore, false);
    assert.equal(shown({ data: { 'roots.pem': '', a: '' } }).holdsMore, true);
    assert.equal(shown({ binaryData: { a: '' } }).holdsMore, true);
  });

  it('no roots are written to a namespace that is being deleted, by either of its fields', () => {
    const metadata = { name: 'shop' };
    assert.equal(toOptedIn({ metadata, status: { phase: 'Active' } }).isTerminating, false);
    assert.equal(toOptedIn({ metadata, status: { phase: 'Terminating' } }).isTerminating, true);
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    assert.equal(toOptedIn({ metadata: { ...metadata, deletionTimestamp } }).isTerminating, true);
  });
});
