import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { createAuthority } from '../../signer/authority/create.ts';
import { poolObjects, startApi, writeContexts } from './api-server.ts';
import { run } from './run.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-verify-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const sidecar = { name: 'proxy', image: 'registry.example/proxy:1', args: ['sidecar'] };
const signer = {
  name: 'signer',
  image: 'registry.example/kubespiffe:2',
  imagePullPolicy: 'Always',
  args: ['signer', '--trust-domain', 'example.org'],
};

/** Prints the Job for a Deployment with these containers. */
async function printJob(...containers: readonly object[]) {
  const now = Math.floor(Date.now() / 1_000);
  const trustDomain = 'example.org';
  const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 86_400 });
  const {
    publishedAt: _,
    activatedAt: __,
    ...next
  } = await createAuthority({ id: 'ca-2', trustDomain, now });
  await using api = await startApi({
    ...poolObjects(trustDomain, first, { ...next, state: 'preview' }),
    '/apis/apps/v1/namespaces/kubespiffe/deployments/kubespiffe-signer': {
      metadata: { name: 'kubespiffe-signer' },
      spec: { template: { spec: { containers } } },
    },
  });
  const kubeconfig = join(folder, 'kubeconfig.json');
  writeContexts(kubeconfig, { here: api }, 'here');
  return await run(['ca', 'verify-preview', 'ca-2', '-o', 'yaml', '--kubeconfig', kubeconfig]);
}

describe('the image of the Job of ca verify-preview', () => {
  it('the Job has the image of the container that runs the signer, also if a sidecar stands first', async () => {
    const { code, stdout, stderr } = await printJob(sidecar, signer);
    assert.equal(code, 0, stderr);
    const [container, ...others] = parse(stdout).spec.template.spec.containers;
    assert.deepEqual(
      [container.image, container.imagePullPolicy, others],
      [signer.image, signer.imagePullPolicy, []],
    );
  });

  it('the Job gets no image of a Deployment without a signer, and the hint asks for --image', async () => {
    const { code, stdout, stderr } = await printJob(sidecar);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(
      stderr,
      /^error: no container of the Deployment kubespiffe\/kubespiffe-signer runs `kubespiffe signer`\nhint: .*--signer-deployment, or give --image$/m,
    );
  });
});
