import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Import, importsBelow } from './imports.ts';

/** Each chain is the shortest way along imports from a file back to itself. No file is in two chains. */
function cyclesIn(imports: readonly Import[]): string[] {
  const importsOf = Map.groupBy(imports, ({ from }) => from);
  const found = new Set<string>();

  function wayBackTo(file: string): readonly string[] | undefined {
    const seen = new Set<string>();
    const ways = [[file]];
    for (const way of ways) {
      for (const { to } of importsOf.get(way.at(-1) ?? '') ?? []) {
        if (to === file) return way;
        if (seen.has(to) || found.has(to)) continue;
        seen.add(to);
        ways.push([...way, to]);
      }
    }
    return undefined;
  }

  return [...importsOf.keys()].flatMap((file) => {
    const cycle = found.has(file) ? undefined : wayBackTo(file);
    for (const each of cycle ?? []) found.add(each);
    return cycle ? [[...cycle, file].join(' → ')] : [];
  });
}

test('files never import each other in a cycle, not even types', () => {
  const folders = ['signer', 'spiffe', 'client', 'workload', 'tools', 'dev'];
  assert.deepEqual(cyclesIn(folders.flatMap(importsBelow)), []);
});

test('a cycle of imports is found from any of its files, and printed as a chain', () => {
  const cycle = [
    { from: 'entry.ts', to: 'a.ts' },
    { from: 'a.ts', to: 'b.ts' },
    { from: 'b.ts', to: 'leaf.ts' },
    { from: 'b.ts', to: 'c.ts' },
    { from: 'c.ts', to: 'a.ts' },
  ];
  assert.deepEqual(cyclesIn(cycle), ['a.ts → b.ts → c.ts → a.ts']);
  assert.deepEqual(cyclesIn(cycle.toReversed()), ['c.ts → a.ts → b.ts → c.ts']);
  assert.deepEqual(cyclesIn(cycle.slice(0, -1)), []);
});
