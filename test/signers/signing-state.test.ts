import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RecordedEvent } from '../../signer/kube/event-backlog.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { createSigningState, type SigningProblem } from '../../signer/signers/signing-state.ts';
import { timeWith } from '../kube/fake-time.ts';

const tainted = { reason: 'PoolUnusable', message: 'authority first is tainted; make another one active' };

function aState(options: { hasPod?: boolean; jwt?: boolean } = {}) {
  const recorded: RecordedEvent[] = [];
  const metrics = createMetrics();
  const script: { nowMs: number; x509?: SigningProblem; jwt?: SigningProblem } = { nowMs: 0 };
  const pod = {
    uid: 'own-uid',
    nodeName: 'node-1',
    serviceAccountName: 'kubespiffe-signer',
    finished: undefined,
  };
  const look = createSigningState({
    signerName: 'kubespiffe.io/spiffe',
    x509: () => script.x509,
    jwt: options.jwt ? () => script.jwt : undefined,
    metrics,
    events: { record: (event) => recorded.push(event) },
    pods: { get: (key) => (key === 'kubespiffe/signer-a' && options.hasPod !== false ? pod : undefined) },
    namespace: 'kubespiffe',
    replica: 'signer-a',
    time: timeWith({ monotonic: () => script.nowMs }),
  });
  const lookAt = (nowMs: number) => {
    script.nowMs = nowMs;
    look();
  };
  const canSign = async () =>
    [
      ...(await metrics.render()).matchAll(
        /^kubespiffe_can_sign\{kind="(\w+)",signer="kubespiffe.io\/spiffe"\} (\d)$/gm,
      ),
    ].map(([, kind, value]) => `${kind} ${value}`);
  return { script, lookAt, recorded, canSign };
}

describe('a signer that cannot sign', () => {
  it('a signer that cannot sign reports that on its pod after ten seconds, and again every minute', () => {
    const { script, lookAt, recorded } = aState();
    script.x509 = tainted;
    for (const ms of [0, 9_999]) lookAt(ms);
    assert.deepEqual(recorded, []);
    for (const ms of [10_000, 11_000, 69_999]) lookAt(ms);
    assert.equal(recorded.length, 1);
    const [event] = recorded;
    assert.partialDeepStrictEqual(event, {
      regarding: { kind: 'Pod', namespace: 'kubespiffe', name: 'signer-a', uid: 'own-uid' },
      type: 'Warning',
      reason: 'PoolUnusable',
      note: 'No certificates are signed for kubespiffe.io/spiffe: authority first is tainted; make another one active',
    });
    lookAt(70_000);
    assert.equal(recorded.length, 2);
    assert.equal(new Set(recorded.map(({ key }) => key)).size, 1);
  });

  it('a signer that cannot sign reports nothing that passes by itself', () => {
    const { script, lookAt, recorded } = aState();
    script.x509 = tainted;
    lookAt(0);
    delete script.x509;
    lookAt(5_000);
    script.x509 = tainted;
    for (const ms of [6_000, 15_999]) lookAt(ms);
    assert.deepEqual(recorded, []);
  });

  it('a signer that cannot sign reports nothing if its pod is not in the cluster', () => {
    const { script, lookAt, recorded } = aState({ hasPod: false });
    script.x509 = tainted;
    for (const ms of [0, 20_000]) lookAt(ms);
    assert.deepEqual(recorded, []);
  });

  it('a signer reports separately what prevents certificates and what prevents JWT-SVIDs', async () => {
    const { script, lookAt, recorded, canSign } = aState({ jwt: true });
    lookAt(0);
    assert.deepEqual(await canSign(), ['x509 1', 'jwt 1']);
    script.jwt = { reason: 'JwtKeyTooNew', message: 'it is too recent' };
    for (const ms of [1_000, 11_000]) lookAt(ms);
    assert.deepEqual(await canSign(), ['x509 1', 'jwt 0']);
    assert.deepEqual(
      recorded.map(({ reason, note }) => [reason, note]),
      [['JwtKeyTooNew', 'No JWT-SVIDs are signed for kubespiffe.io/spiffe: it is too recent']],
    );
  });

  it('a signer has no metric of JWT-SVIDs without a token endpoint', async () => {
    const { lookAt, canSign } = aState();
    lookAt(0);
    assert.deepEqual(await canSign(), ['x509 1']);
  });
});
