import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startNode } from '../cluster/node.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { signerReady, trustDomain } from './installation.ts';

const run = promisify(execFile);

/** The commands of docs/getting-started.md, as they stand there, on the cluster of `make cluster`. */
describe('getting started, on the cluster that the page recommends', () => {
  let controlPlane: ControlPlane;
  let folder: string;

  before(async () => {
    controlPlane = await startControlPlane({ complete: true });
    const node = await startNode(controlPlane);
    await node.importImage(join(checkout, 'dist/kubespiffe-image.tar'));
    folder = join(controlPlane.dir, 'checkout');
    await cp(join(checkout, 'manifests'), join(folder, 'manifests'), { recursive: true });
    await mkdir(join(folder, 'bin'));
    await symlink(join(checkout, 'bin/kubespiffe'), join(folder, 'bin/kubespiffe'));
    await mkdir(join(folder, 'path'));
    const kubectl = (controlPlane.binaries.command('kubectl') ?? []).join(' ');
    await program('kubectl', `exec ${kubectl} "$@"`);
    // What a person does in the editor: no registry, so the image keeps its name.
    await program('editor', `exec sed -i '/^images:/,$d' "$1"`);
  });
  after(() => controlPlane?.stop());

  async function program(name: string, script: string): Promise<void> {
    const path = join(folder, 'path', name);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
  }

  /** Runs the block below a heading that holds this text, with the trust domain in its place. */
  async function follow(
    heading: string,
    holds: string,
    change: [string, string] = ['', ''],
  ): Promise<string> {
    const page = await readPage('docs/getting-started.md');
    const block = blocksBelow(page, heading).find(({ code }) => code.includes(holds));
    assert.ok(block, `${heading}: no block with ${holds}`);
    const commands = block.code.replaceAll('YOUR-TRUST-DOMAIN', trustDomain).replaceAll(...change);
    const env = {
      ...process.env,
      PATH: `${folder}/path:${process.env.PATH}`,
      KUBECONFIG: controlPlane.kubeconfig,
      EDITOR: 'editor',
    };
    try {
      const { stdout } = await run('sh', ['-ec', commands], { cwd: folder, env });
      return stdout;
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${await podReport()}`);
    }
  }

  /** What pods in `default` say of themselves, for the message of a failure. */
  async function podReport(): Promise<string> {
    const { body } = await controlPlane.request('GET', '/api/v1/namespaces/default/pods');
    const names: string[] = body.items.map((pod: { metadata: { name: string } }) => pod.metadata.name);
    const logs = names.map((name) => controlPlane.kubectl(['logs', name]).catch(String));
    return [await controlPlane.kubectl(['describe', 'pods']), ...(await Promise.all(logs))].join('\n');
  }

  it('installs the signer and makes its CA', async () => {
    await follow('Install', 'examples/overlay');
    assert.match(await follow('Install', 'ca create'), /successfully rolled out/);
    await follow('Install', 'pool.yaml');
    assert.match(await readFile(join(folder, 'pool.yaml'), 'utf8'), /pool\.json:/);
    await follow('Install', 'rolebinding');
  });

  it('shows the certificate of the first pod', async () => {
    const output = await follow('The first pod', 'examples/pod.yaml');
    assert.match(output, /SPIFFE ID +spiffe:\/\/example\.org\/ns\/default\/sa\/default/);
    assert.match(output, /Result: conforms/);
  });

  it('explains the SPIFFE ID that a registration gives to this pod', async () => {
    const output = await follow('Another SPIFFE ID', 'registration.yaml');
    assert.match(output, /spiffe:\/\/example\.org\/ns\/default\/app\/example/);
  });

  for (const [overlay, heading, example] of [
    ['examples/tokens', 'Tokens', 'jwt-svid.yaml'],
    ['examples/without-pod-certificates', 'Without Pod Certificates', 'jwt-svid-roots-configmap.yaml'],
  ] as const) {
    it(`gets a JWT-SVID with curl by the name of the Service, with ${overlay} in place of examples/overlay`, async () => {
      await rm(join(folder, 'manifests/examples/my-cluster'), { recursive: true });
      await follow('Install', 'examples/overlay', ['examples/overlay', overlay]);
      await signerReady(controlPlane);
      assert.match(await follow(heading, example), /"access_token":"eyJ/);
    });
  }
});
