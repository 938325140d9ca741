import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import type { PoolView } from '../../signer/authority/view.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { createLogger } from '../../signer/observe/log.ts';
import { type ConfigMapPublisher, createConfigMapPublisher } from '../../signer/trust/configmap-publisher.ts';
import { bundleLabels } from '../../signer/trust/labels.ts';
import {
  desiredRoots,
  type ObservedConfigMap,
  type OptedIn,
  toObservedConfigMap,
} from '../../signer/trust/roots-configmap.ts';
import { withoutFederation } from '../../signer/trust/siblings.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { timeWith } from '../kube/fake-time.ts';
import { onlyMember } from './membership.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
const name = 'kubespiffe-roots';
const active: OptedIn = { isTerminating: false };

function compile(authorities: readonly AuthorityRecord[]): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

/** What its own watch shows, before anything is written: the publisher does not run here. */
describe('the publication of roots by ConfigMaps', () => {
  let older: Pool;
  let newer: Pool;
  let root: CertificateFacts;
  let pool: Pool;
  let poolChanged: () => void;
  let peers: ReadonlyMap<string, string>;
  let lines: string[];
  let namespaces: Store<OptedIn>;
  let published: Store<ObservedConfigMap>;
  let publisher: ConfigMapPublisher;

  before(async () => {
    const first = await createAuthority({ id: '1', trustDomain, now });
    const second = await createAuthority({ id: '2', trustDomain, now });
    older = compile([first]);
    newer = compile([{ ...first, state: 'retiring' }, second]);
    const added = newer.active?.root;
    assert.ok(added);
    root = added;
  });

  beforeEach(() => {
    pool = newer;
    peers = new Map();
    lines = [];
    namespaces = createStore({ time: realTime });
    published = createStore({ time: realTime });
    const view: Pick<PoolView, 'current' | 'onChange'> = {
      current: () => pool,
      onChange: (listener) => {
        poolChanged = listener;
      },
    };
    publisher = createConfigMapPublisher({
      pool: view as PoolView,
      namespaces,
      observed: published,
      transport: {} as Transport,
      federated: { ...withoutFederation, peers: () => peers },
      events: { record: () => assert.fail('nothing is to be told') },
      name,
      membership: onlyMember,
      rankFor: () => 0,
      takeoverDelayMs: 1_000,
      time: timeWith({ monotonic: () => 0, jitter: () => 0 }),
      log: createLogger({ level: 'warn', destination: { write: (line) => lines.push(line) } }),
    });
  });

  function holding(from: Pool, labels = bundleLabels(trustDomain)): ObservedConfigMap {
    const roots = desiredRoots(from);
    assert.ok(roots.ok);
    return toObservedConfigMap({ metadata: { name, labels }, data: { 'roots.pem': roots.value.pem } });
  }

  /** Namespaces by name, and what each holds. */
  function show(all: Record<string, [OptedIn, ObservedConfigMap?]>): void {
    const entries = Object.entries(all);
    published.replace(
      entries.flatMap(([key, [, held]]) => (held ? [[`${key}/${name}`, held] as const] : [])),
    );
    namespaces.replace(entries.map(([key, [namespace]]) => [key, namespace] as const));
  }

  const rows: [
    when: string,
    all: () => Record<string, [OptedIn, ObservedConfigMap?]>,
    isPublished: boolean,
  ][] = [
    ['no namespace asks', () => ({}), true],
    [
      'every namespace shows the root',
      () => ({ a: [active, holding(newer)], b: [active, holding(newer)] }),
      true,
    ],
    [
      'one still shows the old roots',
      () => ({ a: [active, holding(newer)], b: [active, holding(older)] }),
      false,
    ],
    ['one has no ConfigMap yet', () => ({ a: [active, holding(newer)], b: [active] }), false],
    [
      'it shows the root, and a label is wrong',
      () => ({ a: [active, holding(newer, { ...bundleLabels('x') })] }),
      true,
    ],
    [
      'one has a ConfigMap of another owner',
      () => ({ a: [active, holding(newer)], b: [active, holding(older, {})] }),
      true,
    ],
    ['the only one has a ConfigMap of another owner', () => ({ a: [active, holding(newer, {})] }), true],
    ['one is being deleted', () => ({ a: [active, holding(newer)], b: [{ isTerminating: true }] }), true],
  ];
  for (const [when, all, isPublished] of rows) {
    it(`roots ${isPublished ? 'count' : 'do not count'} as published by ConfigMaps when ${when}`, () => {
      show(all());
      assert.equal(publisher.isVisible(root), isPublished);
      if (!isPublished) assert.match(publisher.problem() ?? '', /1 of 2 namespaces .*; b: it is still to be/);
    });
  }

  it('a trust domain whose roots are left out of ConfigMaps is logged once, and again with another size', () => {
    show({ a: [active] });
    const large = 65 * 1024;
    for (const [size, warnings] of [
      [large, 1],
      [large, 1],
      [large + 1, 2],
    ] as const) {
      peers = new Map([['a.example', 'A'.repeat(size)]]);
      publisher.problem();
      assert.equal(lines.length, warnings);
    }
    assert.match(
      lines[0] ?? '',
      /"trustDomain":"a\.example","why":"its roots take 66560 bytes of PEM; at most/,
    );
  });

  it('roots count as published by ConfigMaps when both namespaces and ConfigMaps have been read', () => {
    assert.equal(publisher.isVisible(root), false);
    published.replace([]);
    assert.equal(publisher.isVisible(root), false);
    assert.match(publisher.problem() ?? '', /not read yet/);
    namespaces.replace([]);
    assert.equal(publisher.isVisible(root), true);
  });

  it('roots that were seen everywhere stay published, even if a namespace then loses them', () => {
    show({ a: [active, holding(newer)] });
    assert.equal(publisher.isVisible(root), true);
    show({ a: [active], b: [active, holding(older)] });
    assert.equal(publisher.isVisible(root), true);
    assert.match(publisher.problem() ?? '', /2 of 2 namespaces/);
  });

  it('roots that left the pool and came back count as published only after a new check', () => {
    show({ a: [active, holding(newer)] });
    assert.equal(publisher.isVisible(root), true);
    pool = older;
    poolChanged();
    show({ a: [active, holding(older)] });
    pool = newer;
    poolChanged();
    assert.equal(publisher.isVisible(root), false);
  });

  it('each namespace is counted in the metric by the state of its ConfigMap', () => {
    show({
      a: [active, holding(newer)],
      b: [active, holding(older)],
      c: [active],
      d: [active, holding(newer, {})],
      e: [{ isTerminating: true }],
    });
    assert.deepEqual(publisher.states(), { published: 1, pending: 2, foreign: 1, failed: 0 });
  });
});
