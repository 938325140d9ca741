// Builds the documentation as a site: dist/site/index.html, plain files with a search that a browser reads from the disk.
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installPython } from '../test/judges/python.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const configuration = join(import.meta.dirname, 'site');

/**
 * Builds the pages of a checkout. What Sphinx warns of is an error: a link within the pages that leads nowhere, or a page
 * that is in no list.
 *
 * @param output the folder of the site; what is in it is replaced.
 */
export async function buildSite(output: string, checkout = root): Promise<void> {
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: configuration });
  const programs = await installPython(join(configuration, 'requirements.txt'));
  await rm(output, { recursive: true, force: true });
  const doctrees = await mkdtemp(join(tmpdir(), 'site-'));
  try {
    const options = ['--fail-on-warning', '--quiet', '--conf-dir', configuration, '--doctree-dir', doctrees];
    await run(join(programs, 'sphinx-build'), [...options, checkout, output]);
  } finally {
    await rm(doctrees, { recursive: true });
  }
  await copyFile(join(output, 'README.html'), join(output, 'index.html'));
}

if (import.meta.main) {
  const output = join(root, 'dist/site');
  await buildSite(output);
  console.log(`documentation: ${join(output, 'index.html')}`);
}
