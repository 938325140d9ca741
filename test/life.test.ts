import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { realTime } from '../signer/kube/time.ts';
import { live, type Replica } from '../signer/life.ts';
import type { Part } from '../signer/signers/profile.ts';

/** A replica of parts that work until they are told to end, and what it has said and done. */
function replica(changed: Partial<Replica>) {
  const said: string[] = [];
  const part = (name: string): Part => ({
    run: async (signal) => {
      if (!signal.aborted) await once(signal, 'abort');
      said.push(`${name} ended`);
    },
  });
  const log = (fields: object) => void said.push(Object.values(fields).join());
  const parts = {
    parts: [part('part')],
    knowing: Promise.resolve(),
    controllers: [part('controller')],
    membership: part('membership'),
    listeners: [part('listener')],
    onDraining: () => void said.push('draining'),
    log: { info: log, error: log } as unknown as Replica['log'],
    time: realTime,
  };
  return { replica: { ...parts, ...changed }, said };
}

const failing: Part = {
  run: async () => {
    throw new Error('broken');
  },
};

describe('a replica', () => {
  it('a replica ends the parts that the others need last when it is stopped', async () => {
    const { replica: made, said } = replica({});
    const stopping = new AbortController();
    const ended = live(made, stopping.signal, new AbortController());
    stopping.abort('SIGTERM');
    await ended;
    const all = [
      'SIGTERM',
      'draining',
      'controller ended',
      'membership ended',
      'listener ended',
      'part ended',
    ];
    assert.deepEqual(said.toSorted(), all.toSorted());
    assert.equal(said.at(-1), 'part ended');
  });

  const broken: Record<string, () => Partial<Replica>> = {
    'part below': () => ({ parts: [failing] }),
    controller: () => ({ controllers: [failing] }),
    membership: () => ({ membership: failing }),
    listener: () => ({ listeners: [failing] }),
    'wait for what it has to know': () => ({ knowing: Promise.reject(new Error('broken')) }),
  };
  for (const [name, changed] of Object.entries(broken)) {
    it(`a replica whose ${name} fails reports that, drains, and ends with that error`, async () => {
      const { replica: made, said } = replica(changed());
      const ended = live(made, new AbortController().signal, new AbortController());
      await assert.rejects(ended, { message: 'broken' });
      assert.equal(said[0], 'broken');
      assert.ok(said.includes('draining'));
      for (const other of ['part', 'membership', 'listener'].filter((each) => !name.includes(each))) {
        assert.ok(said.includes(`${other} ended`), other);
      }
    });
  }
});
