import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCommands } from '../contract/page-commands.ts';
import { checkout } from './markdown.ts';
import { faultOf } from './programs/documented.ts';
import { writeStandIns } from './programs/stand-in.ts';
import { standInCommands } from './stand-in-commands.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-stand-ins-'));
});
after(() => rm(folder, { recursive: true }));

describe('commands of pages for missing programs', () => {
  for (const [index, commands] of standInCommands.entries()) {
    const { page, heading, block = 0, calls } = commands;
    if (!calls) continue;
    it(`commands for missing programs have documented arguments: ${page}, ${heading}, ${block}`, async () => {
      const file = join(folder, `calls-${index}`);
      const programs = join(folder, `programs-${index}`);
      await writeStandIns(programs, { gcloud: '', az: '', aws: '', vault: '' }, file);
      await runCommands(commands, { env: { PATH: `${programs}:${process.env.PATH}` }, cwd: folder });
      const lines = (await readFile(file, 'utf8')).trim().split('\n');
      assert.equal(lines.length, calls.length);
      for (const [at, line] of lines.entries()) assert.match(JSON.parse(line).join(' '), calls[at] ?? /^$/);
    });
  }

  it('commands for missing programs are refused with other arguments', () => {
    const faults = [
      ['gcloud', 'iam', 'workload-identity-pools', 'create', 'pods'],
      ['gcloud', 'iam', 'workload-identity-pools', 'create', 'pods', 'more', '--location=global'],
      ['gcloud', 'iam', 'pools', 'create', 'pods', '--location=global'],
      [
        'aws',
        'iam',
        'create-open-id-connect-provider',
        '--url',
        'https://id.example.org',
        '--client-id',
        'x',
      ],
      ['az', 'identity', 'create', '--name', 'web'],
      ['vault', 'write', 'auth/jwt/config', 'jwks_url=https://a', 'oidc_discovery_url=https://b'],
      ['vault', 'write', 'auth/jwt/config', 'issuer=https://a'],
    ].map(([program = '', ...args]) => faultOf(program, args));
    assert.deepEqual(faults, [
      'gcloud iam workload-identity-pools create needs --location',
      'gcloud iam workload-identity-pools create takes 1 words, and not: pods more',
      'no command is documented as gcloud iam pools create pods --location=global',
      'aws iam create-open-id-connect-provider has no option --client-id',
      'az identity create needs --resource-group',
      'vault write auth/jwt/config needs one of oidc_discovery_url, jwks_url, jwt_validation_pubkeys',
      'vault write auth/jwt/config has no option issuer',
    ]);
  });
});

/** Lets `make` say what it would run. What it runs is tested elsewhere, and takes minutes. */
const dryMake = '#!/bin/sh\nexec /usr/bin/make --dry-run "$@"\n';

describe('the targets of make that pages name', () => {
  for (const commands of standInCommands.filter(({ calls }) => !calls)) {
    it(`the targets of make on a page exist, and run scripts that exist: ${commands.page}`, async () => {
      const programs = await mkdtemp(join(folder, 'make-'));
      await writeFile(join(programs, 'make'), dryMake, { mode: 0o755 });
      const env = { PATH: `${programs}:${process.env.PATH}` };
      const output = await runCommands(commands, { env, cwd: checkout });
      const scripts = new Set(output.match(/\b(?:scripts|test)\/[\w/.-]+\.(?:ts|sh)\b/g));
      assert.ok(scripts.size > 8, output);
      assert.deepEqual(
        [...scripts].filter((path) => !existsSync(join(checkout, path))),
        [],
      );
    });
  }
});

describe('the commands for a single folder', () => {
  it('the commands for a single folder install, test, check types and format, in a copy with a few sources', async () => {
    const copy = join(folder, 'copy');
    const tests = 'test/spiffe/pki';
    await mkdir(join(copy, tests), { recursive: true });
    const files = [
      'package.json',
      'package-lock.json',
      '.npmrc',
      '.gitignore',
      'biome.json',
      'tsconfig.json',
    ];
    for (const name of [...files, 'spiffe', `${tests}/oid.test.ts`, `${tests}/pem.test.ts`]) {
      await cp(join(checkout, name), join(copy, name), { recursive: true });
    }
    // npm reads its files and installs nothing: the packages are those of this checkout.
    const programs = join(folder, 'npm');
    await mkdir(programs);
    const npm = `npm "$@" --dry-run --offline && ln -s '${checkout}/node_modules' node_modules`;
    await writeFile(join(programs, 'npm'), `#!/bin/sh\nPATH=\${PATH#*:}\n${npm}\n`, { mode: 0o755 });
    const env = { PATH: `${programs}:${process.env.PATH}` };
    const commands = { page: 'docs/development.md', heading: 'The first ten minutes', block: 1 };
    await runCommands({ ...commands, prints: /fail 0[\s\S]+Checked \d+ files/ }, { env, cwd: copy });
  });
});
