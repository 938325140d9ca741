import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findBinaries } from '../../cluster/binary.ts';
import { startControlPlane } from '../../cluster/control-plane.ts';
import { startNode } from '../../cluster/node.ts';

test('binaries in KUBEBUILDER_ASSETS serve as a control plane, and report what they cannot do', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-assets-'));
  t.after(() => rm(folder, { recursive: true }));
  const built = await findBinaries('1.37.1', { complete: true });
  const [binary] = built.command('kubectl') ?? [];
  for (const name of ['etcd', 'kube-apiserver', 'kubectl']) {
    await writeFile(join(folder, name), `#!/bin/sh\nexec '${binary}' ${name} "$@"\n`, { mode: 0o755 });
  }
  process.env.KUBEBUILDER_ASSETS = folder;
  t.after(() => delete process.env.KUBEBUILDER_ASSETS);

  const controlPlane = await startControlPlane();
  t.after(() => controlPlane.stop());
  assert.equal(controlPlane.binaries.complete, false);
  assert.deepEqual(controlPlane.binaries.command('etcd'), [join(folder, 'etcd')]);
  assert.match(await controlPlane.kubectl(['get', 'namespaces']), /default/);
  await assert.rejects(startNode(controlPlane), /complete: true/);
});
