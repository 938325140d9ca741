import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type FederatedTrustDomain,
  readFederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import { federationStatus } from '../../signer/federation/federation-status.ts';
import {
  attemptedIn,
  countChange,
  idleOf,
  intervalSeconds,
  isDue,
  pauseMs,
  waitMs,
} from '../../signer/federation/schedule.ts';

const now = 1_800_000_000;

function resource(of: { spec?: object; status?: object; refresh?: string } = {}): FederatedTrustDomain {
  return readFederatedTrustDomain({
    metadata: {
      ...{ name: 'partner', uid: 'u', generation: 2, creationTimestamp: '2026-11-29T12:00:00Z' },
      annotations: of.refresh === undefined ? {} : { 'kubespiffe.io/refresh': of.refresh },
    },
    spec: {
      trustDomain: 'partner.example',
      bundleEndpoint: { url: 'https://partner.example/', profile: 'https_web' },
      ...of.spec,
    },
    status: of.status,
  });
}

const failed = { kind: 'failed', reason: 'EndpointUnreachable', detail: 'no answer' } as const;
const at = { now, next: now + 60, intervalSeconds: 300, clusterTrustBundle: 'peer' };
const afterFailure = (of: Parameters<typeof resource>[0] = {}) => {
  const before = resource(of);
  return { ...before, status: { ...before.status, ...federationStatus(before, failed, at) } };
};

describe('when a bundle is fetched', () => {
  const dueAt = (each: FederatedTrustDomain, seconds: number) =>
    isDue(each, idleOf(each, each, 'example.org'), attemptedIn(each), seconds * 1000);

  it('a bundle is fetched at once for a new resource, and then at the time in the status, by every replica', () => {
    assert.ok(dueAt(resource(), now));
    assert.ok(!dueAt(afterFailure(), now + 59));
    assert.ok(dueAt(afterFailure(), now + 60));
  });

  it('a bundle is fetched at once after a change of the spec, and after a request for a refresh', () => {
    assert.ok(dueAt({ ...afterFailure(), generation: 3 }, now));
    assert.ok(dueAt({ ...afterFailure(), refreshRequest: 'now' }, now));
    assert.ok(!dueAt(afterFailure({ refresh: 'now' }), now));
  });

  const selves: [
    what: string,
    spec: object,
    own: string,
    first: string | undefined,
    reason: string | undefined,
  ][] = [
    ['for this trust domain, of which there may be many', {}, 'partner.example', 'other', undefined],
    ['that is paused', { paused: true }, 'partner.example', undefined, 'Paused'],
    ['for another trust domain', {}, 'example.org', undefined, 'FederationSpecInvalid'],
    ['that says nothing else than self', { peerOf: 'x' }, 'partner.example', undefined, 'OwnTrustDomain'],
  ];
  for (const [what, spec, own, first, reason] of selves) {
    it(`a resource for another cluster of the same trust domain: one ${what}`, () => {
      const each = resource({ spec: { peerOf: 'self', ...spec } });
      const other = first === undefined ? undefined : { ...resource(), uid: first };
      assert.equal(idleOf(each, other, own)?.reason, reason);
    });
  }

  it('a bundle is not fetched while the resource is paused, invalid, of this trust domain, or the second one for its trust domain', () => {
    const paused = resource({ spec: { paused: true } });
    const wrong = resource({ spec: { bundle: '{}' } });
    const first = { ...resource(), uid: 'other', name: 'first' };
    const reasons = [
      idleOf(paused, paused, 'example.org'),
      idleOf(wrong, wrong, 'example.org'),
      idleOf(resource(), undefined, 'partner.example'),
      idleOf(resource(), first, 'example.org'),
    ];
    assert.deepEqual(
      reasons.map((each) => each?.reason),
      ['Paused', 'FederationSpecInvalid', 'OwnTrustDomain', 'TrustDomainConflict'],
    );
    const idle = { kind: 'idle', reason: 'Paused', detail: '' } as const;
    const written = { ...paused, status: { ...federationStatus(paused, idle, { ...at, next: undefined }) } };
    assert.ok(!dueAt(written, now + 10 ** 6));
    assert.ok(dueAt({ ...written, isPaused: false }, now), 'and at once when it counts again');
  });

  it('a paused resource is written once when its bundle has become stale', () => {
    const status = { bundle: '{"keys":[]}', lastSuccessTime: '2027-01-15T08:00:00Z' };
    const paused = resource({ spec: { paused: true }, status });
    const idle = { kind: 'idle', reason: 'Paused', detail: '' } as const;
    const writtenAt = (seconds: number): FederatedTrustDomain => {
      const written = federationStatus(paused, idle, { ...at, now: seconds, next: undefined });
      return { ...paused, status: { ...status, ...written } };
    };
    assert.ok(!dueAt(writtenAt(now), now + 900));
    assert.ok(dueAt(writtenAt(now), now + 901));
    assert.ok(!dueAt(writtenAt(now + 901), now + 10 ** 6));
  });

  it('a bundle is fetched if a clock that was set back would delay it for long', () => {
    const wrong = afterFailure();
    assert.ok(dueAt(wrong, now - 3 * 24 * 3600));
  });

  it('a bundle is fetched as often as its publisher asks, within the bounds of the resource', () => {
    const bounded = resource({ spec: { refreshHint: { min: '1m', max: '1h' } } });
    assert.deepEqual(
      [0, 60, 300, 3600, 10 * 365 * 24 * 3600, undefined].map((hint) => intervalSeconds(bounded, hint)),
      [60, 60, 300, 3600, 3600, 300],
    );
    assert.equal(intervalSeconds(resource(), 0), 30);
    assert.equal(intervalSeconds(resource(), Number.MAX_SAFE_INTEGER), 24 * 3600);
  });

  it('a bundle is fetched up to five seconds early together with others, but not after a failure or within the shortest interval', () => {
    const soonest = (each: FederatedTrustDomain) => (attemptedIn(each)?.earliestAt ?? 0) / 1000;
    const confirmed = {
      kind: 'confirmed',
      reason: 'BundleTaken',
      detail: '',
      refreshHintSeconds: 0,
    } as const;
    const afterSuccess = (of: Parameters<typeof resource>[0] = {}) => {
      const before = resource(of);
      return { ...before, status: { ...federationStatus(before, confirmed, at) } };
    };
    assert.equal(soonest(afterSuccess()), now + 55);
    assert.equal(soonest(afterSuccess({ spec: { refreshHint: { min: '58s' } } })), now + 58);
    assert.equal(soonest(afterFailure()), now + 60);
  });

  it('a bundle is fetched no sooner than the shortest interval, and after failures no later than the usual one', () => {
    const jitter = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(
        ...[fc.integer({ min: 30, max: 86_400 }), fc.integer({ min: 30, max: 600 })],
        ...[fc.integer({ min: 0, max: 1000 }), jitter],
        (interval, min, failures, random) => {
          const wait = waitMs(Math.max(interval, min), min, failures, () => random) / 1000;
          assert.ok(wait >= min, `${wait} s`);
          assert.ok(wait <= Math.max(interval, 2 * min), `${wait} s`);
        },
      ),
    );
  });
});

describe('a peer whose keys change', () => {
  /** How many changes are taken in a time in which each fetch brings one after so many that bring none. */
  function changesIn(seconds: number, intervalS: number, quiet: number): number {
    let [changes, fetches, allowedAgainAt] = [0, 0, 0];
    for (let at = 1; at < seconds; fetches += 1) {
      if (fetches % (quiet + 1) === quiet) {
        changes += 1;
        allowedAgainAt = countChange(allowedAgainAt, at);
      }
      at += Math.max(intervalS, pauseMs(allowedAgainAt, at) / 1000);
    }
    return changes;
  }
  const interval = fc.integer({ min: 30, max: 3600 });

  it('a bundle that changes again and again is fetched less often: ten changes, then one in ten minutes', () => {
    const day = 86_400;
    assert.ok(changesIn(day, 30, 0) > 9 + day / 600, 'more than without the first ten');
    fc.assert(
      fc.property(interval, fc.integer({ min: 0, max: 20 }), (seconds, quiet) => {
        assert.ok(changesIn(day, seconds, quiet) <= 11 + day / 600);
      }),
    );
  });

  it('a bundle is fetched as usual for ten changes in a row, and then less often for a while', () => {
    let allowedAgainAt = 0;
    for (let change = 0; change < 9; change += 1) {
      allowedAgainAt = countChange(allowedAgainAt, 1_000);
      assert.equal(pauseMs(allowedAgainAt, 1_000), 0);
    }
    allowedAgainAt = countChange(allowedAgainAt, 1_000);
    assert.equal(pauseMs(allowedAgainAt, 1_000), 600_000);
    assert.equal(pauseMs(allowedAgainAt, 1_600), 0);
  });

  it('the condition reports that a bundle changes too often', () => {
    const outcome = {
      kind: 'confirmed',
      reason: 'BundleTaken',
      detail: 'held',
      refreshHintSeconds: 30,
    } as const;
    const [ready] = federationStatus(resource(), outcome, { ...at, isPausing: true }).conditions;
    assert.match(ready?.message ?? '', /^The bundle is held\. Its keys change so often/);
  });
});

describe('the status after an attempt', () => {
  const held = { bundle: '{"keys":[]}', lastSuccessTime: '2027-01-15T07:50:00Z' };
  const conditions = (each: ReturnType<typeof federationStatus>) =>
    Object.fromEntries(each.conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));

  it('a resource stays ready after a failure while a bundle is in use, and keeps its details of the bundle', () => {
    const status = federationStatus(resource({ status: held }), failed, at);
    assert.deepEqual(conditions(status), {
      Ready: 'True BundleHeld',
      Stale: 'False Fresh',
      BundleInvalid: 'False Valid',
      Unreachable: 'True EndpointUnreachable',
    });
    assert.ok(!('bundle' in status) && !('lastSuccessTime' in status) && !('sequence' in status));
    assert.match(
      status.conditions[0]?.message ?? '',
      /stays in use\. The bundle could not be fetched: no answer\./,
    );
  });

  it('a resource is stale when the bundle was not confirmed for three intervals', () => {
    const status = federationStatus(resource({ status: held }), failed, { ...at, now: now + 601 });
    assert.equal(conditions(status).Ready, 'False BundleStale');
    assert.equal(conditions(status).Stale, 'True BundleStale');
  });

  it('a paused resource is stale after three intervals, although nothing is fetched', () => {
    const paused = { kind: 'idle', reason: 'Paused', detail: '' } as const;
    const at2 = { ...at, next: undefined };
    const resting = resource({ status: held });
    assert.equal(conditions(federationStatus(resting, paused, at2)).Stale, 'False Fresh');
    const late = conditions(federationStatus(resting, paused, { ...at2, now: now + 601 }));
    assert.deepEqual([late.Ready, late.Stale], ['False Paused', 'True BundleStale']);
  });

  it('a resource is not ready when all roots of the bundle have expired', () => {
    const status = federationStatus(resource({ status: held }), failed, { ...at, haveHeldExpired: true });
    assert.equal(conditions(status).Ready, 'False EndpointUnreachable');
  });

  it('a resource is not ready without a bundle', () => {
    assert.equal(conditions(federationStatus(resource(), failed, at)).Ready, 'False EndpointUnreachable');
  });

  it('a condition that has not changed keeps its time', () => {
    const [ready] = federationStatus(afterFailure(), failed, { ...at, now: now + 60 }).conditions;
    assert.equal(ready?.lastTransitionTime, '2027-01-15T08:00:00Z');
  });
});
