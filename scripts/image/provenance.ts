import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DebianPackage } from './debian.ts';

const run = promisify(execFile);

/** What a build was made of and what it made. */
export interface Build {
  readonly reference: string;
  /** Digest of the image, `sha256:…`. */
  readonly digest: string;
  readonly architectures: readonly string[];
  /** Where the source is published, if it is. */
  readonly source: string | undefined;
  readonly debian: readonly DebianPackage[];
}

/**
 * How the image came about, as an in-toto statement with the predicate SLSA provenance 1. It is not signed, and has no
 * time. npm packages and Node are those of the package-lock.json that it names by its hash.
 *
 * @param root the checkout
 */
export async function provenance(root: string, build: Build): Promise<object> {
  const lockFile = await readFile(join(root, 'package-lock.json'));
  const [algorithm = '', digest = ''] = build.digest.split(':');
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: build.reference, digest: { [algorithm]: digest } }],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'https://kubespiffe.io/build/image/v1',
        externalParameters: {
          command: 'node scripts/image.ts',
          reference: build.reference,
          architectures: build.architectures,
        },
        resolvedDependencies: [
          ...(await checkoutOf(root, build.source)),
          { name: 'package-lock.json', digest: { sha256: hash('sha256', lockFile, 'hex') } },
          ...build.debian.map(({ name, version, architecture }) => ({
            uri: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`,
          })),
        ],
      },
      runDetails: { builder: { id: 'https://kubespiffe.io/builder/make' } },
    },
  };
}

/** The commit that was built; none where this is no checkout. Changes that are not committed are mentioned. */
async function checkoutOf(root: string, source: string | undefined): Promise<object[]> {
  const git = (...words: string[]) => run('git', words, { cwd: root }).then(({ stdout }) => stdout.trim());
  const commit = await git('rev-parse', 'HEAD').catch(() => undefined);
  if (commit === undefined) return [];
  const isChanged = (await git('status', '--porcelain')) !== '';
  return [
    {
      name: 'kubespiffe',
      ...(source !== undefined && { uri: `git+${source}` }),
      digest: { gitCommit: commit },
      ...(isChanged && { annotations: { uncommittedChanges: true } }),
    },
  ];
}
