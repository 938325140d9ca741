import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJsonBytes, parseJsonObject } from '../../spiffe/json.ts';

for (const [name, text, reason] of [
  ['a text that is not JSON', '{"a":', 'it is not JSON'],
  ['a list', '[1]', 'it is not a JSON object'],
  ['null', 'null', 'it is not a JSON object'],
  ['a name twice', '{"a":1,"a":1}', 'it has a name twice'],
  ['a name twice, once with an escape', '{"a":1,"\\u0061":2}', 'it has a name twice'],
  ['a name twice with white space', '{"a" : 1, "a"\n:2}', 'it has a name twice'],
  ['a name twice further down', '{"b":[{"c":{"d":1,"e":[],"d":2}}]}', 'it has a name twice'],
  ['a name with quotes twice', '{"\\"":1,"\\"":2}', 'it has a name twice'],
] as const) {
  test(`the JSON reader refuses ${name}`, () =>
    assert.deepEqual(parseJsonObject(text, 'it'), { ok: false, reason }));
}

test('the JSON reader is not misled by braces, colons and quotes within strings', () => {
  const text = '{"a":"{\\"a\\":1","b":["a:","a\\\\"],"c":{"a":"}"},"d":{"a":"a"}}';
  assert.deepEqual(parseJsonObject(text, 'it'), { ok: true, value: JSON.parse(text) });
});

test('the JSON reader refuses any object once one of its members is written twice, and none before', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (object, at) => {
      const text = JSON.stringify(object);
      assert.ok(parseJsonObject(text, 'it').ok);
      const names = Object.keys(object);
      const again = JSON.stringify(names[at % names.length]);
      assert.ok(!parseJsonObject(`${text.slice(0, -1)},${again}:0}`, 'it').ok);
      assert.ok(!parseJsonObject(`{"list":[${text.slice(0, -1)},${again}:{}}]}`, 'it').ok);
    }),
  );
});

test('the JSON reader reads a text of any depth of nesting', () => {
  const depth = 30_000;
  assert.ok(parseJsonObject(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`, 'it').ok);
});

test('the JSON reader refuses bytes that are not UTF-8, or begin with a byte order mark', () => {
  assert.ok(!parseJsonBytes(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 'it').ok);
  assert.ok(!parseJsonBytes(Buffer.from('\ufeff{}'), 'it').ok);
  assert.ok(parseJsonBytes(Buffer.from('{"é":1}'), 'it').ok);
});

test('the JSON reader reads any object that JSON.stringify writes as JSON.parse does', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const text = JSON.stringify(value);
      assert.deepEqual(parseJsonObject(text, 'it'), { ok: true, value: JSON.parse(text) });
    }),
  );
});

test('the JSON reader never throws', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseJsonObject(text, 'it');
      parseJsonBytes(Buffer.from(text, 'latin1'), 'it');
    }),
  );
});
