import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createJsonReader, type Fields, type Items, pickFields } from '../../signer/kube/json-reader.ts';
import { createLineReader, type WatchEvent } from '../../signer/kube/watch-lines.ts';

/** Reads a text in chunks of so many bytes. */
function readText(text: string, fields: Fields, chunkBytes = 7): unknown {
  const reader = createJsonReader(fields);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += chunkBytes) reader.push(bytes.subarray(at, at + chunkBytes));
  return reader.end();
}

const pod = {
  kind: 'Pod',
  metadata: {
    name: 'web',
    annotations: { a: '"}]{[\\' },
    managedFields: [{ manager: 'm', fieldsV1: { 'f:a': {} } }],
  },
  spec: { nodeName: 'node-1', imagePullSecrets: [{}, {}], containers: [{ name: 'nodeName' }] },
  status: null,
};

describe('a reader of JSON', () => {
  const cases: [name: string, fields: Fields, expected: unknown][] = [
    ['reads everything', true, pod],
    ['reads only the members that are named', { metadata: { name: true } }, { metadata: { name: 'web' } }],
    [
      'reads no member of the same name elsewhere',
      { spec: { nodeName: true } },
      { spec: { nodeName: 'node-1' } },
    ],
    [
      'reads members of the elements of an array',
      { metadata: { managedFields: { manager: true } } },
      { metadata: { managedFields: [{ manager: 'm' }] } },
    ],
    ['reads null where an object could be', { status: { phase: true } }, { status: null }],
    [
      'reads no names that every object inherits',
      JSON.parse('{"metadata":{"toString":true},"constructor":{}}') as Fields,
      { metadata: {} },
    ],
    ['reads no member that the text does not have', { data: true }, {}],
  ];
  for (const [name, fields, expected] of cases) {
    it(`a reader of JSON ${name}`, () => {
      for (const size of [1, 2, 3, 1000]) {
        assert.deepEqual(readText(JSON.stringify(pod), fields, size), expected);
        assert.deepEqual(readText(JSON.stringify(pod, undefined, 2), fields, size), expected);
      }
    });
  }

  it('a reader of JSON reads only the named members, for any value and any chunks', () => {
    const names = fc.constantFrom('a', 'b', 'metadata', '__proto__', 'constructor', '');
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'medium' },
        fc.string({ unit: 'binary' }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(null, true, false, 0, -1.5e300),
        fc.array(tie('any')),
        fc
          .array(fc.tuple(fc.oneof(names, fc.string({ unit: 'binary' })), tie('any')))
          .map(Object.fromEntries),
      ),
    })).any;
    const fields = fc.letrec<{ any: Fields }>((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constant(true as const),
        fc.array(fc.tuple(names, tie('any'))).map((pairs) => Object.fromEntries(pairs) as Fields),
      ),
    })).any;
    fc.assert(
      fc.property(value, fields, fc.integer({ min: 1, max: 40 }), (written, wanted, size) => {
        const parsed: unknown = JSON.parse(JSON.stringify(written));
        assert.deepEqual(readText(JSON.stringify(written), wanted, size), pickFields(parsed, wanted));
      }),
      { numRuns: 500 },
    );
  });

  for (const broken of [
    '',
    ' ',
    '{',
    '{"metadata":{"name":"a"}',
    '{"metadata"}',
    '{"metadata":[}',
    '{}{}',
    '{} x',
    ']',
    '<p>',
    '{"data":"x',
    "{'a':1}",
  ]) {
    it(`a reader of JSON refuses text that is not JSON, and does not quote it: ${broken}`, () => {
      const fields: Fields = { metadata: { name: true } };
      assert.throws(() => readText(broken, fields), /^Error: it is not JSON$/);
      assert.throws(() => readText(broken, true), /^Error: it is not JSON$/);
    });
  }

  it('a reader of JSON passes on the items of a list one by one, and reads the rest', () => {
    const list = { kind: 'PodList', metadata: { continue: 'x' }, items: [pod, pod, { items: [1] }] };
    for (const text of [
      JSON.stringify(list),
      JSON.stringify({ items: list.items, metadata: list.metadata }, undefined, 1),
    ]) {
      const taken: unknown[] = [];
      const items: Items = {
        fields: { metadata: { name: true } } as const,
        take: (item: unknown) => taken.push(item),
      };
      const reader = createJsonReader({ metadata: true, items: {} }, items);
      for (const byte of Buffer.from(text)) reader.push(Buffer.from([byte]));
      assert.deepEqual(reader.end(), { metadata: { continue: 'x' }, items: [] });
      assert.deepEqual(taken, [{ metadata: { name: 'web' } }, { metadata: { name: 'web' } }, {}]);
    }
  });

  it('a reader of JSON needs memory only for what it keeps, not for skipped text or the number of chunks', () => {
    const reader = createJsonReader({ metadata: { name: true } });
    const before = process.memoryUsage();
    reader.push(Buffer.from('{"metadata":{"name":"web"},"spec":{"imagePullSecrets":['));
    const chunk = Buffer.from('{},'.repeat(1000));
    for (let part = 0; part < 40_000; part += 1) reader.push(chunk);
    reader.push(Buffer.from('{}],"text":"'));
    for (let part = 0; part < 1_000_000; part += 1) reader.push(Buffer.from('x'));
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    const grownMiB = (heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers) / 1024 / 1024;
    reader.push(Buffer.from('"}}'));
    assert.deepEqual(reader.end(), { metadata: { name: 'web' } });
    assert.ok(grownMiB < 60, `${Math.round(grownMiB)} MiB more after 120 MiB of JSON`);
  });
});

describe('a reader of watch lines', () => {
  const line = (event: unknown) => `${JSON.stringify(event)}\n`;

  function read(text: string, chunkBytes: number): WatchEvent[] {
    const seen: WatchEvent[] = [];
    const push = createLineReader({ metadata: { name: true } }, (event) => seen.push(event));
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += chunkBytes) push(bytes.subarray(at, at + chunkBytes));
    return seen;
  }

  it('a reader of watch lines reads the named members and the Status of an error, for any chunks', () => {
    const status = { kind: 'Status', status: 'Failure', message: 'too old', reason: 'Expired', code: 410 };
    const text = `${line({ type: 'ADDED', object: pod })}\n${line({ type: 'ERROR', object: status })}`;
    const { message, reason, code } = status;
    for (const size of [1, 5, 10_000]) {
      assert.deepEqual(read(text, size), [
        { type: 'ADDED', object: { metadata: { name: 'web' } } },
        { type: 'ERROR', object: { message, reason, code } },
      ]);
    }
  });

  it('a reader of watch lines reads an event with the most JSON that an object in etcd can have', () => {
    const large = { metadata: { name: 'web' }, spec: { text: '<'.repeat(1.5 * 1024 * 1024) } };
    const text = line({ type: 'ADDED', object: large }).replaceAll('<', '\\u003c');
    assert.equal(read(text, 64 * 1024).length, 1);
  });

  it('a reader of watch lines needs no more memory when a line arrives byte by byte', () => {
    const push = createLineReader(true, () => undefined);
    const before = process.memoryUsage();
    push(Buffer.from('{"type":"ADDED","object":{"text":"'));
    for (let part = 0; part < 2_000_000; part += 1) push(Buffer.from('x'));
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    const grownMiB = (heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers) / 1024 / 1024;
    push(Buffer.from('"}}\n'));
    assert.ok(grownMiB < 60, `${Math.round(grownMiB)} MiB more for 2 MB`);
  });
});
