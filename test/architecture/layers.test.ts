import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

/**
 * What each folder may import, besides itself: only what is below it in the house (docs/development.md). Every folder
 * with sources has a line of its own. `signer` is the wiring beside main.ts, which may use everything in signer/.
 */
const library = ['spiffe', 'spiffe/pki'];
const kube = ['signer/kube', 'client', ...library];
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
    ...['signer/authority', 'signer/identity', 'signer/keys', 'signer/kube', 'signer/observe'],
    ...['workload', 'workload/api', 'client', ...library],
  ],
  'signer/observe': ['client', 'spiffe/pki'],
  'signer/kube': ['client', ...library],
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
  ...[
    'signer/trust',
    'signer/federation',
    'signer/config',
    'signer/issuance',
    'signer/signers',
    'signer/token/caller',
  ],
  ...['signer/token/svid', 'signer/observe', 'workload', 'workload/api', 'workload/helper', 'dev', ...facts],
];

/** The table of rights that a replica needs. It stands beside the wiring, and `kubespiffe doctor` reads it. */
const permissionsFile = 'signer/permissions.ts';

/** The entry that starts the signer for `kubespiffe signer`. */
const toolsEntry = 'tools/main.ts';

/** Every coded error of the project, which even spiffe/pki raises. */
const errorsFile = 'spiffe/errors.ts';

interface Import {
  from: string;
  /** File below the root, or the name of a package. */
  to: string;
}

function importsBelow(folder: string): Import[] {
  return sources(folder).flatMap((from) =>
    [...withoutDocstrings(textOf(from)).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
      ([, to = '']) => ({
        from,
        to: to.startsWith('.') ? relative(root, join(root, dirname(from), to)) : to,
      }),
    ),
  );
}

/** The examples in docstrings import our package by its name. */
const withoutDocstrings = (source: string) => source.replaceAll(/^ \* .*$/gm, ' *');

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name));
}

/** Who gets what, and for how long: the same facts always give the same answer. */
const deciding = [
  'signer/federation/federated-trust-domain.ts',
  'signer/federation/federation-status.ts',
  'signer/federation/foreign-bundle.ts',
  'signer/federation/schedule.ts',
  'signer/identity/guard-rails.ts',
  'signer/identity/identify.ts',
  'signer/identity/registered-name.ts',
  'signer/identity/registration-fields.ts',
  'signer/identity/registration-grant.ts',
  'signer/identity/registration.ts',
  'signer/identity/resolve.ts',
  'signer/identity/template.ts',
  'signer/issuance/decide.ts',
  'signer/issuance/validity.ts',
];
const decides = (file: string) => deciding.includes(file);

const textOf = (file: string) => readFileSync(join(root, file), 'utf8');

/** The folders of the program, without the commands. */
const programFolders = ['spiffe', 'client', 'workload', 'dev', 'signer'];
const programSources = programFolders.flatMap(sources);
const programImports = programFolders.flatMap(importsBelow);
const isOurs = ({ to }: Import) => /\.tsx?$/.test(to);

test('every folder of the program has its place in the house', () => {
  const folders = new Set(programSources.map(dirname));
  folders.delete('signer');
  assert.deepEqual([...folders].sort(), Object.keys(mayUse).sort());
});

test('imports go down the layers, never up, sub-folders included', () => {
  const wrong = programImports.filter(isOurs).filter(({ from, to }) => {
    const folder = dirname(from);
    const target = dirname(to);
    if (target === folder || to === errorsFile) return false;
    if (folder === 'signer') return !Object.hasOwn(mayUse, target);
    const allowed = mayUse[folder] ?? [];
    return !allowed.includes(target) && !(target === 'signer/observe' && folder.startsWith('signer/'));
  });
  assert.deepEqual(wrong, []);
});

test('tools use what lies below the running signer', () => {
  const wrong = importsBelow('tools')
    .filter(isOurs)
    .filter(({ from, to }) => !to.startsWith('tools/') && from !== toolsEntry)
    .filter(({ to }) => !mayBeUsedByTools.includes(dirname(to)) && to !== permissionsFile);
  assert.deepEqual(wrong, []);
});

test('the program does not use its tests', () => {
  const wrong = [...programImports, ...importsBelow('tools')].filter(({ to }) => to.startsWith('test/'));
  assert.deepEqual(wrong, []);
});

test('what decides does no input or output', () => {
  assert.deepEqual(programSources.filter(decides).sort(), deciding);
  const wrong = programImports.filter(
    ({ from, to }) => decides(from) && to.startsWith('node:') && to !== 'node:crypto',
  );
  assert.deepEqual(wrong, []);
});

test('what decides, and the folders below, take time and randomness from their callers', () => {
  const pure = programSources.filter(
    (file) => decides(file) || [...library, 'signer/identity', 'signer/authority'].includes(dirname(file)),
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
