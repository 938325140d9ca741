import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { blocksBelow, readPage } from './markdown.ts';

/** A pod with these volumes, as far as the question goes. */
const pod = (name: string, ...volumes: object[]) => ({
  metadata: { namespace: 'shop', name },
  spec: { volumes },
});
const projected = (...sources: object[]) => ({ projected: { sources } });

test('uninstalling lists every pod that mounts the roots, in any way, and no other', async () => {
  const blocks = blocksBelow(await readPage('docs/getting-started.md'), 'Change, upgrade, remove');
  const [, program = ''] =
    blocks.map(({ code }) => /\| jq -r '([^']+)'/.exec(code)).find((found) => found) ?? [];
  const pods = [
    pod(
      'by-labels',
      projected({ podCertificate: {} }, { clusterTrustBundle: { signerName: 'kubespiffe.io/spiffe' } }),
    ),
    pod('pod-identity', projected({ clusterTrustBundle: { signerName: 'kubespiffe.io/pod-identity' } })),
    pod('by-name', projected({ clusterTrustBundle: { name: 'kubespiffe.io:spiffe:roots' } })),
    pod('preview', projected({ clusterTrustBundle: { name: 'kubespiffe.io:spiffe:roots-preview' } })),
    pod('config-map', { emptyDir: {} }, { configMap: { name: 'kubespiffe-roots' } }),
    pod(
      'projected-config-map',
      projected({ serviceAccountToken: {} }, { configMap: { name: 'kubespiffe-roots' } }),
    ),
    pod(
      'others',
      { configMap: { name: 'kube-root-ca.crt' } },
      projected({ clusterTrustBundle: { name: 'x' } }),
    ),
    { metadata: { namespace: 'shop', name: 'without-volumes' }, spec: {} },
  ];
  const input = JSON.stringify({ items: pods });
  const { stdout, stderr } = spawnSync('jq', ['-r', program], { input, encoding: 'utf8' });
  assert.deepEqual(
    stdout.trim().split('\n'),
    ['by-labels', 'pod-identity', 'by-name', 'preview', 'config-map', 'projected-config-map'].map(
      (name) => `shop/${name}`,
    ),
    stderr,
  );
});
