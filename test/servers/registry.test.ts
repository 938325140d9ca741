import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packImage } from '../../scripts/image/oci.ts';
import { helm, helmBinary } from '../cluster/helm.ts';
import { runCommands } from '../contract/page-commands.ts';
import { checkout } from '../docs/markdown.ts';
import { writeStandIns } from '../docs/programs/stand-in.ts';
import { run } from '../tools/run.ts';
import { type Registry, startRegistry } from './registry.ts';

/** Each goes on where the one before ended. */
describe('the commands of the pages that publish image and chart, at a registry', () => {
  let folder: string;
  let registry: Registry;
  let env: Record<string, string>;
  const programs = () => join(folder, 'programs');
  const program = (name: string, script: string) =>
    writeFile(join(programs(), name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const here = (code: string) => code.replaceAll('registry.example.com', registry.host);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubespiffe-registry-'));
    registry = await startRegistry(join(folder, 'registry'));
    await mkdir(join(folder, 'dist'));
    for (const name of ['kubespiffe-image.tar', 'kubespiffe-image.provenance.json']) {
      await symlink(join(checkout, 'dist', name), join(folder, 'dist', name));
    }
    await cp(join(checkout, 'manifests'), join(folder, 'manifests'), { recursive: true });
    // What `make` builds is there: it only has to know the target.
    await writeStandIns(programs(), { cosign: 'for last; do :; done; skopeo inspect "docker://$last"' });
    await program('make', `/usr/bin/make --dry-run --directory '${checkout}' "$@" >/dev/null`);
    env = { PATH: `${programs()}:${process.env.PATH}`, SSL_CERT_FILE: registry.roots };
  });
  after(async () => {
    await registry?.stop();
    await rm(folder, { recursive: true });
  });

  const inspect = async (...words: string[]) => {
    const reference = `docker://${registry.host}/kubespiffe:0.1.0`;
    const ran = await run(['inspect', ...words, reference], { file: 'skopeo', env });
    assert.equal(ran.code, 0, ran.stderr);
    return JSON.parse(ran.stdout);
  };

  it('docs/getting-started.md copies the image to a registry', async () => {
    const commands = { page: 'docs/getting-started.md', heading: 'Install', prints: /Writing manifest/ };
    await runCommands(commands, { env, here, cwd: folder });
    assert.equal((await inspect()).Labels['org.opencontainers.image.title'], 'kubespiffe');
  });

  it('docs/security/supply-chain.md attests the image by the digest of the build', async () => {
    const commands = { page: 'docs/security/supply-chain.md', heading: 'Provenance', prints: /"Digest"/ };
    const output = await runCommands(commands, { env, here, cwd: folder });
    assert.equal(JSON.parse(output).Digest, (await inspect()).Digest);
    const predicate = JSON.parse(await readFile(join(folder, 'predicate.json'), 'utf8'));
    assert.equal(predicate.runDetails.builder.id, 'https://kubespiffe.io/builder/make');
  });

  it('docs/security/supply-chain.md copies the images of both architectures to a registry', async () => {
    const layersOf = (text: string) => [
      { comment: 'file', entries: [{ path: 'name', mode: 0o644, content: Buffer.from(text) }] },
    ];
    // Packed as `make images` does, with small files.
    const { archive, digest } = await packImage({
      reference: 'kubespiffe.io/kubespiffe:dev',
      platforms: ['amd64', 'arm64'].map((name) => ({ architecture: name, layers: layersOf(name) })),
      config: { Cmd: ['/name'] },
      annotations: {},
    });
    await writeFile(join(folder, 'dist/kubespiffe-images.tar'), archive);
    const commands = { page: 'docs/security/supply-chain.md', heading: 'Architectures', prints: /2 images/ };
    await runCommands(commands, { env, here, cwd: folder });
    const index: { manifests: { platform: { architecture: string } }[] } = await inspect('--raw');
    assert.deepEqual(
      index.manifests.map(({ platform }) => platform.architecture),
      ['amd64', 'arm64'],
    );
    assert.match(digest, /^sha256:/);
  });

  it('docs/guides/helm.md pushes the chart to a registry, which then installs from there', async () => {
    await program('helm', `exec '${await helmBinary()}' "$@"`);
    const commands = { page: 'docs/guides/helm.md', heading: 'Install', block: 2, prints: /Pushed: / };
    await runCommands(commands, { env, here, cwd: folder });
    const chart = `oci://${registry.host}/charts/kubespiffe`;
    const values = ['--set', 'settings.trustDomain=example.org', '--ca-file', registry.roots];
    const rendered = await helm(['template', 'kubespiffe', chart, '--version', '0.1.0', ...values]);
    assert.match(rendered, /kind: Deployment/);
  });
});
