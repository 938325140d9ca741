import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import {
  type Import,
  importsBelow,
  importsOf,
  loadedBy,
  sources,
  textOf,
  withoutDocstrings,
} from './imports.ts';

const root = join(import.meta.dirname, '../..');

/**
 * What each folder may import, besides itself: only what is below it in the house (docs/development.md). Every folder
 * with sources has a line of its own. `signer` is the wiring beside main.ts, which may use everything in signer/.
 */
const library = ['spiffe', 'spiffe/pki'];
const observe = ['signer/observe', 'client', ...library];
const kube = ['signer/kube', ...observe];
const facts = ['signer/authority', 'signer/authority/upstream', 'signer/identity', 'signer/keys', ...kube];
const mayUse: Record<string, readonly string[]> = {
  'spiffe/pki': [],
  spiffe: ['spiffe/pki'],
  client: library,
  workload: ['client', ...library],
  'workload/api': ['workload', 'client', ...library],
  'workload/helper': ['workload', 'workload/api', 'client', ...library],
  // It joins what decides and signs in the signer with what delivers in a pod.
  dev: [
    ...['signer/token', 'signer/token/http', 'signer/token/svid', 'signer/token/caller', 'signer/trust'],
    ...['signer/authority', 'signer/identity', 'signer/keys', 'workload', 'workload/api', ...kube],
  ],
  'signer/observe': ['client', ...library],
  'signer/kube': observe,
  'signer/identity': kube,
  'signer/keys': kube,
  'signer/authority': ['signer/keys', ...kube],
  'signer/authority/upstream': ['signer/authority', ...kube],
  'signer/config': ['signer/authority', 'signer/authority/upstream', 'signer/keys', ...kube],
  'signer/issuance': facts,
  'signer/signers': ['signer/config', 'signer/issuance', 'signer/trust', ...facts],
  'signer/trust': facts,
  'signer/federation': ['signer/config', 'signer/trust', ...facts],
  // The wiring of the endpoints. Inside, imports go from http to svid to caller.
  'signer/token': [
    'signer/config',
    'signer/trust',
    'signer/token/http',
    'signer/token/svid',
    'signer/token/caller',
    ...facts,
  ],
  'signer/token/http': ['signer/token/svid', 'signer/token/caller', 'signer/trust', ...facts],
  'signer/token/svid': ['signer/token/caller', 'signer/config', ...facts],
  'signer/token/caller': facts,
};

/**
 * What tools/ may use of the program: its facts, and what decides by them, so that a tool says what the signer would do.
 * The rest belongs to the running signer alone.
 */
const mayBeUsedByTools = [
  ...['signer/trust', 'signer/federation', 'signer/config', 'signer/issuance', 'signer/signers'],
  ...['signer/token/caller', 'signer/token/svid'],
  ...['workload', 'workload/api', 'workload/helper', 'dev', ...facts],
];

/** The ways that imports go, as docs/development.md has them: steps from left to right, each of one folder or several. */
const [waysOfProgram = '', waysOfTools = ''] = [
  ...readFileSync(join(root, 'docs/development.md'), 'utf8').matchAll(/^```text\n([^`]*→[^`]*)^```$/gm),
].map(([, ways = '']) => ways.replaceAll('\n  →', ' →'));
const stepsOf = (way: string) => way.split(' → ').map((step) => step.trim().split(', '));

/** The folders of tools/: each may import those that come later. */
const toolFolders = stepsOf(waysOfTools).flat().slice(0, -1);
/** Its place in that order. What is in tools/ itself serves all of them. */
const toolRank = (file: string) => {
  const [, folder = '', inside] = file.split('/');
  return inside === undefined ? toolFolders.length : toolFolders.indexOf(folder);
};

/** The table of rights that a replica needs. It stands beside the wiring, and `kubespiffe doctor` reads it. */
const permissionsFile = 'signer/permissions.ts';

/** The entry that starts the signer for `kubespiffe signer`, and the list of all commands. */
const toolsEntry = 'tools/main.ts';
const toolsEntries = [toolsEntry, 'tools/cli.ts'];

/** Every coded error of the project, which even spiffe/pki raises. */
const errorsFile = 'spiffe/errors.ts';

/** What a part of the signer knows of time; signer/observe as well. */
const timeFile = 'signer/kube/time.ts';

/** Who gets what, and for how long: the same facts always give the same answer. */
const deciding = [
  'signer/authority/change.ts',
  'signer/authority/issue-leaf.ts',
  'signer/authority/rotation-plan.ts',
  'signer/authority/rotation.ts',
  'signer/authority/transitions.ts',
  'signer/authority/verbs.ts',
  'signer/federation/federated-trust-domain.ts',
  'signer/federation/federation-status.ts',
  'signer/federation/foreign-bundle.ts',
  'signer/federation/schedule.ts',
  'signer/issuance/decide.ts',
  'signer/issuance/validity.ts',
];
/** Folders in which every file is like that. */
const pureFolders = [...library, 'signer/identity'];
const isPure = (file: string) => deciding.includes(file) || pureFolders.includes(dirname(file));
/** The modules of Node.js that do no input or output. */
const pureModules = ['node:buffer', 'node:crypto', 'node:util'];
const onlyIsIP = "import { isIP } from 'node:net';";

/** The folders of the program, without the commands. */
const programFolders = ['spiffe', 'client', 'workload', 'dev', 'signer'];
const programSources = programFolders.flatMap(sources);
const programImports = programFolders.flatMap(importsBelow);
const isOurs = ({ to }: Import) => /\.tsx?$/.test(to);

test('every folder of the program has a list of allowed imports', () => {
  const folders = new Set(programSources.map(dirname));
  folders.delete('signer');
  assert.deepEqual([...folders].sort(), Object.keys(mayUse).sort());
});

test('the list of allowed imports agrees with docs/development.md', () => {
  const ways = waysOfProgram.trim().split('\n').map(stepsOf);
  const inHouse = (name: string) => (existsSync(join(root, 'signer', name)) ? `signer/${name}` : name);
  const ranks = ways.map(
    (way) => new Map(way.flatMap((step, rank) => step.map((name) => [inHouse(name), rank]))),
  );
  const goes = (from: string, to: string) =>
    ranks.some((rank) => (rank.get(from) ?? Number.NaN) < (rank.get(to) ?? Number.NaN));
  const rows = [...Object.entries(mayUse), ['tools', mayBeUsedByTools] as const];
  assert.deepEqual(
    rows.flatMap(([from, allowed]) => allowed.filter((to) => !goes(from, to)).map((to) => ({ from, to }))),
    [],
  );
});

test('imports go down the layers, never up, sub-folders included', () => {
  const wrong = programImports.filter(isOurs).filter(({ from, to }) => {
    const folder = dirname(from);
    const target = dirname(to);
    if (target === folder || to === errorsFile) return false;
    if (folder === 'signer/observe' && to === timeFile) return false;
    if (folder === 'signer') return !Object.hasOwn(mayUse, target);
    return !mayUse[folder]?.includes(target);
  });
  assert.deepEqual(wrong, []);
});

test('tools use only what is below the running signer', () => {
  const wrong = importsBelow('tools')
    .filter(isOurs)
    .filter(({ from, to }) => !to.startsWith('tools/') && from !== toolsEntry)
    .filter(({ to }) => !mayBeUsedByTools.includes(dirname(to)) && to !== permissionsFile);
  assert.deepEqual(wrong, []);
});

test('imports among the folders of tools go one way', () => {
  const folders = new Set(sources('tools').map((file) => file.split('/').slice(1, -1)[0] ?? ''));
  folders.delete('');
  assert.deepEqual([...folders].sort(), [...toolFolders].sort());
  const wrong = importsBelow('tools').filter(
    ({ from, to }) =>
      isOurs({ from, to }) &&
      to.startsWith('tools/') &&
      !toolsEntries.includes(from) &&
      toolRank(to) < toolRank(from),
  );
  assert.deepEqual(wrong, []);
});

test('the program does not use its tests', () => {
  const wrong = [...programImports, ...importsBelow('tools')].filter(({ to }) => to.startsWith('test/'));
  assert.deepEqual(wrong, []);
});

/** Outside of spiffe/pki: signatures of PKCS#11, messages read by the library, which has no packages, and what judges CAs. */
const derFiles = [
  'client/workload-api.ts',
  'signer/keys/pkcs11-process.ts',
  'signer/keys/pkcs11.ts',
  'spiffe/name-constraints.ts',
];

test('only the hot path and the decisions read or write DER with our own code', () => {
  const users = [...programImports, ...importsBelow('tools')]
    .filter(({ to }) => to === 'spiffe/pki/der.ts' || to === 'spiffe/pki/der-writer.ts')
    .map(({ from }) => from)
    .filter((from) => dirname(from) !== 'spiffe/pki');
  assert.deepEqual([...new Set(users)].sort(), derFiles);
});

test('decisions do no input or output, and load nothing that does', () => {
  assert.deepEqual(deciding, programSources.filter((file) => deciding.includes(file)).sort());
  const loaded = new Set(programSources.filter(isPure).flatMap((file) => [...loadedBy(file)]));
  const wrong = [...loaded]
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => importsOf(file).map((to) => ({ file, to })))
    .filter(({ to }) => !to.endsWith('.ts') && !pureModules.includes(to))
    .filter(({ file, to }) => to !== 'node:net' || !textOf(file).includes(onlyIsIP));
  assert.deepEqual(wrong, []);
});

test('decisions, and the folders below, take time and randomness from their callers', () => {
  const pure = programSources.filter((file) => isPure(file) || dirname(file) === 'signer/authority');
  const clock = /new Date\(\)|Date\.now|performance\.now/;
  const randomness = /Math\.random|randomBytes|randomUUID|randomInt|getRandomValues/;
  assert.deepEqual(
    pure.filter((file) => clock.test(textOf(file))),
    [],
  );
  assert.deepEqual(
    pure.filter((file) => randomness.test(textOf(file))),
    // It makes keys, which must be random for every caller.
    ['signer/authority/create.ts'],
  );
});

/** A clock or timer that is not the one of `Time`, which a test can move. */
const realClock =
  /new Date\(\)|Date\.now|performance\.now|Math\.random|(?<![.\w])set(Timeout|Interval)\(|AbortSignal\.timeout|node:timers/;

test('only Time gives the signer its time and timers', () => {
  const wrong = programSources.filter(
    (file) =>
      file.startsWith('signer/') &&
      !ownClocks.includes(file) &&
      realClock.test(withoutDocstrings(textOf(file))),
  );
  assert.deepEqual(wrong, []);
});

const ownClocks = [
  timeFile,
  // Writes what is left when the process ends and no timer runs any more; its retries must not keep a process alive.
  'signer/observe/output.ts',
  // Waits for the next turn of the event loop, which is no time.
  'signer/signers/registration-status.ts',
  // A request of a command, never of a running signer.
  'signer/authority/upstream/vault.ts',
];

test('only the entries read the environment', () => {
  const readers = programSources.filter((file) => /process\.env/.test(withoutDocstrings(textOf(file))));
  assert.deepEqual(
    readers.filter((file) => !['signer/main.ts', 'signer/process.ts'].includes(file)),
    [],
  );
});

test('a package is a run-time dependency if, and only if, the program imports it', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const imported = [...programFolders, 'tools']
    .flatMap(importsBelow)
    .map(({ to }) => /^(@[\w-]+\/[\w-]+|[\w-]+)(?:\/|$)/.exec(to)?.[1])
    .filter((name) => name !== undefined && ![...programFolders, 'tools', 'package.json'].includes(name));
  // Builds the web view: for the image, and in a checkout. The image has no esbuild.
  const inCheckout = new Set(['esbuild']);
  assert.deepEqual([...new Set(imported).difference(inCheckout)].sort(), Object.keys(dependencies).sort());
});
