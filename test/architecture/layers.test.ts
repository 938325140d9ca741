import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

/**
 * Which rooms of signer/ a room may import from, besides itself: only what is below it in the house. All may use
 * observe/ and errors.ts, which use nothing above themselves.
 */
const mayUse: Record<string, readonly string[]> = {
  errors: [],
  observe: [],
  pki: [],
  spiffe: ['pki'],
  kube: ['pki'],
  identity: ['kube', 'spiffe', 'pki'],
  authority: ['kube', 'spiffe', 'pki'],
  config: ['kube', 'spiffe', 'pki'],
  issuance: ['authority', 'identity', 'kube', 'spiffe', 'pki'],
  token: ['authority', 'identity', 'kube', 'spiffe', 'pki'],
  trust: ['authority', 'identity', 'kube', 'spiffe', 'pki'],
};
const mayBeUsedByAll = ['errors', 'observe'];

/** What tools/ may use of signer/. The rest belongs to the running signer alone. */
const mayBeUsedByTools = ['pki', 'spiffe', 'authority', 'identity', 'kube', 'trust', 'config', 'errors'];

/** The entry that starts the signer for `kubespiffe signer`. */
const toolsEntry = 'tools/main.ts';

interface Import {
  from: string;
  /** File below the root, or the name of a package. */
  to: string;
}

function importsBelow(folder: string): Import[] {
  return sources(folder).flatMap((from) =>
    [...textOf(from).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, to = '']) => ({
      from,
      to: to.startsWith('.') ? relative(root, join(root, dirname(from), to)) : to,
    })),
  );
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

/**
 * `signer/kube/queue.ts` is in the room `kube`, `signer/errors.ts` in one of its own. What else lies beside main.ts is
 * part of the wiring, which may use everything and is used by nothing.
 */
function roomOf(file: string): string {
  const [, place = '', ...rest] = file.split('/');
  if (rest.length > 0) return place;
  return place === 'errors.ts' ? 'errors' : 'main';
}

/** Who gets what, and for how long: the same facts always give the same answer. */
const deciding = ['signer/identity/spiffe.ts', 'signer/issuance/decide.ts', 'signer/issuance/validity.ts'];
const decides = (file: string) => deciding.includes(file);

const textOf = (file: string) => readFileSync(join(root, file), 'utf8');

const signerImports = importsBelow('signer');
const isOurs = ({ to }: Import) => to.endsWith('.ts');

test('every room of signer/ has its place in the house', () => {
  const rooms = new Set(sources('signer').map(roomOf));
  rooms.delete('main');
  for (const room of rooms)
    assert.ok(Object.hasOwn(mayUse, room), `signer/${room} is not in the table of layers`);
});

test('imports in signer/ go down the layers, never up', () => {
  const wrong = signerImports.filter(isOurs).filter(({ from, to }) => {
    const room = roomOf(from);
    if (room === 'main' || !to.startsWith('signer/')) return !to.startsWith('signer/');
    const target = roomOf(to);
    if (target === room) return false;
    const allowed = mayUse[room] ?? [];
    const isShared =
      mayBeUsedByAll.includes(target) && !(room === 'errors') && !(room === 'pki' && target === 'observe');
    return !allowed.includes(target) && !isShared;
  });
  assert.deepEqual(wrong, []);
});

test('tools use what lies below the running signer', () => {
  const wrong = importsBelow('tools')
    .filter(({ from, to }) => to.startsWith('signer/') && from !== toolsEntry)
    .filter(({ to }) => !mayBeUsedByTools.includes(roomOf(to)));
  assert.deepEqual(wrong, []);
});

test('the program does not use its tests', () => {
  const wrong = [...signerImports, ...importsBelow('tools')].filter(({ to }) => to.startsWith('test/'));
  assert.deepEqual(wrong, []);
});

test('what decides does no input or output', () => {
  assert.deepEqual(sources('signer').filter(decides).sort(), deciding);
  const wrong = signerImports.filter(
    ({ from, to }) => decides(from) && to.startsWith('node:') && to !== 'node:crypto',
  );
  assert.deepEqual(wrong, []);
});

test('what decides, and the rooms below, take time and randomness from their callers', () => {
  const pure = sources('signer').filter(
    (file) => decides(file) || ['pki', 'spiffe', 'identity', 'authority'].includes(roomOf(file)),
  );
  const clock = /new Date\(\)|Date\.now|performance\.now/;
  const randomness = /Math\.random|randomBytes|randomUUID|randomInt|getRandomValues/;
  assert.deepEqual(
    pure.filter((file) => clock.test(textOf(file))),
    [],
  );
  assert.deepEqual(
    pure.filter((file) => randomness.test(textOf(file))),
    // It makes keys, which have to be random whoever asks.
    ['signer/authority/create.ts'],
  );
});

test('only the entries read the environment', () => {
  const readers = sources('signer').filter((file) => /process\.env/.test(textOf(file)));
  assert.deepEqual(
    readers.filter((file) => !['signer/main.ts', 'signer/process.ts'].includes(file)),
    [],
  );
});

test('a package is a run-time dependency if, and only if, the signer or the tools import it', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const imported = ['signer', 'tools']
    .flatMap(importsBelow)
    .map(({ to }) => /^(@[\w-]+\/[\w-]+|[\w-]+)(?:\/|$)/.exec(to)?.[1])
    .filter((name) => name !== undefined && !['signer', 'tools', 'package.json'].includes(name));
  assert.deepEqual([...new Set(imported)].sort(), Object.keys(dependencies).sort());
});
