import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { RecordedEvent } from '../../signer/kube/event-backlog.ts';
import { createEventRecorder, cutBytes } from '../../signer/kube/events.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { createScriptedApi } from './scripted-api.ts';

const example: RecordedEvent = {
  key: 'pod-uid/NoKey',
  regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'team', name: 'web-0', uid: 'u-1' },
  type: 'Warning',
  reason: 'NoKey',
  action: 'Wait',
  note: 'nothing to sign',
};

async function withRecorder(
  body: (world: {
    record: (event?: Partial<RecordedEvent>) => void;
    time: ReturnType<typeof createFakeTime>;
    api: ReturnType<typeof createScriptedApi>;
    count: (method: string) => number;
  }) => Promise<void>,
): Promise<void> {
  const time = createFakeTime();
  const api = createScriptedApi();
  const recorder = createEventRecorder({
    transport: api.transport,
    controller: 'kubespiffe.io/signer',
    instance: 'signer-0',
    time: { ...time, now: () => Date.parse('2026-11-22T12:00:00.123Z') },
    log: { debug: () => undefined },
  });
  const stop = new AbortController();
  const run = recorder.run(stop.signal);
  await body({
    record: (event) => recorder.record({ ...example, ...event }),
    time,
    api,
    count: (method) => api.requests.filter((request) => request.method === method).length,
  });
  stop.abort();
  await run;
  assert.equal(time.pending(), 0);
}

describe('events', () => {
  test('an Event is written once, in the namespace of its object', () =>
    withRecorder(async ({ record, api }) => {
      record();
      await settle();
      const [request] = api.requests;
      assert.equal(request?.method, 'POST');
      assert.equal(request?.path, '/apis/events.k8s.io/v1/namespaces/team/events');
      const { metadata, ...event } = (request?.body ?? {}) as {
        metadata: { name: string; namespace: string };
      };
      assert.match(metadata.name, /^web-0\.[0-9a-f]{16}$/);
      assert.deepEqual(event, {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        eventTime: '2026-11-22T12:00:00.123000Z',
        reportingController: 'kubespiffe.io/signer',
        reportingInstance: 'signer-0',
        regarding: example.regarding,
        type: 'Warning',
        reason: 'NoKey',
        action: 'Wait',
        note: 'nothing to sign',
      });
    }));

  test('an Event has a valid name, also if the name of its object was cut', () =>
    withRecorder(async ({ record, api }) => {
      const names = ['-', '.', 'x', '.-'].map((last) => 'x'.repeat(230 - last.length) + last);
      for (const each of names) {
        record({ key: each, regarding: { ...example.regarding, name: `${each}more` } });
      }
      await settle();
      const written = api.requests.map(({ body }) => (body as { metadata: { name: string } }).metadata.name);
      assert.equal(new Set(written).size, names.length);
      for (const name of written) assert.match(name, /^x{228,230}\.[0-9a-f]{16}$/);
    }));

  test('repetitions are counted in a series that is updated at growing intervals', () =>
    withRecorder(async ({ record, time, api, count }) => {
      for (let second = 0; second < 3600; second += 1) {
        record();
        await time.advance(1000);
      }
      assert.equal(count('POST'), 1);
      assert.ok(count('PATCH') >= 4 && count('PATCH') <= 12, `${count('PATCH')} in an hour`);
      const last = api.requests.at(-1);
      assert.match(last?.path ?? '', /events\/web-0\.[0-9a-f]{16}$/);
      const { series } = (last?.body ?? {}) as { series: { count: number; lastObservedTime: string } };
      assert.ok(series.count > 2500 && series.count <= 3600, String(series.count));
      assert.equal(series.lastObservedTime, '2026-11-22T12:00:00.123000Z');
    }));

  test('another note, and a repetition after the server forgot, are new Events', () =>
    withRecorder(async ({ record, time, count }) => {
      record();
      await time.advance(1000);
      record({ note: 'something else' });
      await time.advance(1000);
      assert.equal(count('POST'), 2);
      await time.advance(3_400_000);
      record({ note: 'something else' });
      await settle();
      assert.equal(count('POST'), 3);
    }));

  test('an Event that was deleted on the server is created again', () =>
    withRecorder(async ({ record, time, api, count }) => {
      record();
      await time.advance(60_000);
      api.answer = ({ method }) => (method === 'PATCH' ? { status: 404 } : { status: 201 });
      record();
      await time.advance(60_000);
      assert.equal(count('PATCH'), 1);
      assert.equal(count('POST'), 2);
    }));

  test('a new Event does not wait behind repetitions of others', () =>
    withRecorder(async ({ record, time, count }) => {
      for (const key of ['a', 'b', 'c']) record({ key });
      await time.advance(1000);
      for (const key of ['a', 'b', 'c']) record({ key });
      await time.advance(100);
      record({ key: 'new' });
      await time.advance(300);
      assert.equal(count('POST'), 4);
    }));

  test('a flood is written slowly, and bounded in memory', () =>
    withRecorder(async ({ record, time, count }) => {
      for (let number = 0; number < 10_000; number += 1) record({ key: String(number) });
      await settle();
      await time.advance(1);
      assert.ok(count('POST') <= 51, `${count('POST')} at once`);
      await time.advance(60_000);
      assert.ok(count('POST') <= 51 + 5 * 60 + 1, `${count('POST')} in a minute`);
      await time.advance(3_600_000);
      assert.ok(count('POST') <= 1024 + 50, `${count('POST')} in all`);
    }));

  const inNamespace = (namespace: string, number: number): Partial<RecordedEvent> => ({
    key: `${namespace}/${number}`,
    regarding: { ...example.regarding, namespace },
  });

  test('a flood from one namespace neither drops nor delays the Events of another', () =>
    withRecorder(async ({ record, time, api }) => {
      const writtenIn = (namespace: string) =>
        api.requests.filter(({ path }) => path.includes(`/namespaces/${namespace}/`)).length;
      for (let number = 0; number < 5; number += 1) record(inNamespace('quiet', number));
      for (let number = 0; number < 10_000; number += 1) record(inNamespace('loud', number));
      await settle();
      await time.advance(1);
      assert.equal(writtenIn('quiet'), 5);
      assert.ok(writtenIn('loud') >= 40, `${writtenIn('loud')} of the flood`);
      // Now that the rate is used up, it is shared.
      record(inNamespace('quiet', 5));
      for (let number = 0; number < 10_000; number += 1) record(inNamespace('loud', 10_000 + number));
      await time.advance(500);
      assert.equal(writtenIn('quiet'), 6);
    }));

  test('a flood from one namespace does not make the repetitions of another new Events', () =>
    withRecorder(async ({ record, time, api }) => {
      record(inNamespace('quiet', 0));
      for (let number = 0; number < 10_000; number += 1) record(inNamespace('loud', number));
      await time.advance(31_000);
      record(inNamespace('quiet', 0));
      await time.advance(1_000);
      const methods = api.requests
        .filter(({ path }) => path.includes('/namespaces/quiet/'))
        .map(({ method }) => method);
      assert.deepEqual(methods, ['POST', 'PATCH']);
    }));

  test('writes of Events pause in a namespace where they fail, and continue in others', () =>
    withRecorder(async ({ record, time, api }) => {
      const tried = (namespace: string) =>
        api.requests.filter(({ path }) => path.includes(`/namespaces/${namespace}/`)).length;
      api.answer = ({ path }) => (path.includes('/namespaces/broken/') ? { status: 500 } : { status: 201 });
      for (let number = 0; number < 20; number += 1) {
        record({ ...inNamespace('broken', number), note: `note ${number}` });
        record(inNamespace('whole', number));
      }
      await time.advance(1_000);
      assert.deepEqual([tried('broken'), tried('whole')], [1, 20]);
      await time.advance(5_000);
      assert.equal(tried('broken'), 2);
      const notes = api.requests
        .filter(({ path }) => path.includes('/broken/'))
        .map(({ body }) => (body as { note: string }).note);
      assert.deepEqual(notes, ['note 0', 'note 1']);
    }));

  test('Events that were never written are written at the end, namespace by namespace', async () => {
    const written: string[] = [];
    await withRecorder(async ({ record, time, api }) => {
      for (let number = 0; number < 60; number += 1) record({ key: `first/${number}` });
      await settle();
      await time.advance(1);
      api.answer = ({ path }) => {
        written.push(path);
        return { status: 201 };
      };
      for (let number = 0; number < 200; number += 1) record(inNamespace('loud', number));
      record(inNamespace('quiet', 0));
    });
    assert.equal(written.filter((path) => path.includes('/quiet/')).length, 1);
  });

  test('temporary errors of Events are retried, a refusal is final, and nothing is thrown', () =>
    withRecorder(async ({ record, time, api, count }) => {
      api.answer = () => 'broken';
      record();
      await time.advance(20_000);
      assert.ok(count('POST') >= 3);
      api.answer = () => ({ status: 201 });
      await time.advance(10_000);
      const written = count('POST');
      await time.advance(100_000);
      assert.equal(count('POST'), written);
      api.answer = () => ({ status: 403 });
      record({ key: 'forbidden' });
      await time.advance(100_000);
      assert.equal(count('POST'), written + 1);
    }));

  test('an Event that was never written is written at the end', async () => {
    const written: unknown[] = [];
    await withRecorder(async ({ record, api }) => {
      api.answer = ({ body }) => {
        written.push(body);
        return { status: 201 };
      };
      for (const key of ['a', 'b', 'c']) record({ key });
    });
    assert.equal(written.length, 3);
  });

  test('the note of an Event is cut to 1024 bytes between two characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 600 }), (text) => {
        const cut = cutBytes(text, 1024);
        assert.ok(Buffer.byteLength(cut) <= 1024);
        assert.ok(!cut.includes('\ufffd') || text.includes('\ufffd'));
        assert.ok(cut === text || text.startsWith(cut.slice(0, -1)));
      }),
    );
  });
});
