import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { withoutFieldSets } from '../../signer/kube/field-sets.ts';
import { createLineReader, type WatchEvent } from '../../signer/kube/watch-lines.ts';

const read = (value: unknown): unknown => JSON.parse(withoutFieldSets(Buffer.from(JSON.stringify(value))));

/** An object of the API with these field sets, each of another manager, and something after them. */
function objectWith(fieldSets: readonly unknown[], annotation = 'none') {
  return {
    metadata: {
      annotations: { note: annotation },
      managedFields: fieldSets.map((fieldsV1, index) => ({
        manager: `m-${index}`,
        operation: 'Update',
        fieldsType: 'FieldsV1',
        fieldsV1,
        subresource: 'status',
      })),
    },
    spec: { signerName: 'kubespiffe.io/spiffe' },
  };
}

const emptied = (count: number) => Array.from({ length: count }, () => ({}));

describe('the field sets of an object', () => {
  const sets: [name: string, fieldSet: object][] = [
    ['that is empty', {}],
    ['with the key of a list', { 'f:status': { 'k:{"uid":"170b"}': { '.': {}, 'f:type': {} } } }],
    ['with braces and backslashes in its names', { 'f:}': { 'f:\\': {}, 'f:\\"}': { 'f:{': {} } } }],
    ['that names itself', { fieldsV1: { fieldsV1: {} } }],
    ['with other letters', { 'f:ключ': { 'f:🔑': {} } }],
  ];
  for (const [name, fieldSet] of sets) {
    it(`field sets are not read: one ${name}`, () => {
      assert.deepEqual(read(objectWith([fieldSet, fieldSet])), objectWith(emptied(2)));
    });
  }

  it('field sets are distinguished from a text that looks like them', () => {
    const text = '"fieldsV1":{"f:spec":{}} and {"fieldsV1":{';
    assert.deepEqual(read(objectWith([], text)), objectWith([], text));
    assert.deepEqual(read(objectWith([{ 'f:spec': {} }], text)), objectWith([{}], text));
  });

  it('field sets are empty for an object without any', () => {
    assert.deepEqual(read({ metadata: { name: 'web' } }), { metadata: { name: 'web' } });
  });

  for (const broken of ['{"fieldsV1":{', '{"fieldsV1":{"f:a', '{"fieldsV1":{"f:a\\', '{"fieldsV1":{}']) {
    it(`a line that ends within a field set stays invalid JSON: ${broken}`, () => {
      assert.throws(() => JSON.parse(withoutFieldSets(Buffer.from(broken))), SyntaxError);
    });
  }

  it('removing field sets changes nothing else, with any content in and beside them, and any cut of the line', () => {
    const fieldSet = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
    fc.assert(
      fc.property(
        fc.array(fieldSet, { maxLength: 3 }),
        fc.string({ unit: 'binary' }),
        fc.integer({ min: 1, max: 50 }),
        (fieldSets, annotation, size) => {
          const seen: WatchEvent[] = [];
          const readChunk = createLineReader(true, (event) => seen.push(event));
          const line = Buffer.from(
            `${JSON.stringify({ type: 'ADDED', object: objectWith(fieldSets, annotation) })}\n`,
          );
          for (let at = 0; at < line.length; at += size) readChunk(line.subarray(at, at + size));
          assert.deepEqual(seen, [
            { type: 'ADDED', object: objectWith(emptied(fieldSets.length), annotation) },
          ]);
        },
      ),
    );
  });
});
