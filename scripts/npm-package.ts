// Builds the npm package of the library in workload/: JavaScript and declarations in dist/npm, and dist/kubespiffe-*.tgz.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** What the package exports: each of these modules of workload/ under its own name. */
export const exported = [
  'authorize',
  'bundle-source',
  'fastify',
  'jwt',
  'jwt-source',
  'peer-refused',
  'tls-client',
  'tls-peer',
  'tls-server',
  'workload-api',
  'x509-source',
] as const;

/** @returns the path of the tarball. */
export function buildPackage(target = join(root, 'dist')): string {
  const folder = join(target, 'npm');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { name, version, description, license, engines } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, string>;
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      ...{ noEmit: false, declaration: true, rewriteRelativeImportExtensions: true },
      ...{ rootDir: root, outDir: folder, typeRoots: [join(root, 'node_modules/@types')] },
    },
    files: exported.map((module) => join(root, `workload/${module}.ts`)),
    include: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  rmSync(join(folder, 'tsconfig.json'));

  const manifest = {
    ...{
      name,
      version,
      description: `${description}: the library for Node.js`,
      license,
      type: 'module',
      engines,
    },
    sideEffects: false,
    exports: Object.fromEntries(
      exported.map((module) => [
        `./${module}`,
        { types: `./workload/${module}.d.ts`, default: `./workload/${module}.js` },
      ]),
    ),
    peerDependencies: { fastify: '>=5' },
    peerDependenciesMeta: { fastify: { optional: true } },
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  const guide = readFileSync(join(root, 'docs/guides/node.md'), 'utf8');
  // What follows links to other pages of the documentation.
  writeFileSync(join(folder, 'README.md'), guide.slice(0, guide.indexOf('\n## See also\n')));
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', target], {
    cwd: folder,
    encoding: 'utf8',
  });
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
  return join(target, filename);
}

if (import.meta.main) console.log(buildPackage());
