import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';

const folder = join(import.meta.dirname, '../../kind');

// kind needs Docker, which CI has not: what can be held without running it is the form.
test('there is a kind configuration per minor, which serves requests and bundles', async () => {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).sort();
  assert.deepEqual(files, ['1.34.yaml', '1.35.yaml', '1.36.yaml', '1.37.yaml']);
  for (const file of files) {
    const cluster = parse(await readFile(join(folder, file), 'utf8'));
    assert.equal(cluster.kind, 'Cluster');
    assert.equal(cluster.apiVersion, 'kind.x-k8s.io/v1alpha4');
    if (file === '1.37.yaml') continue;
    assert.deepEqual(cluster.featureGates, {
      PodCertificateRequest: true,
      ClusterTrustBundle: true,
      ClusterTrustBundleProjection: true,
    });
    const version = file === '1.34.yaml' ? 'v1alpha1' : 'v1beta1';
    assert.deepEqual(cluster.runtimeConfig, {
      [`certificates.k8s.io/${version}/podcertificaterequests`]: 'true',
      'certificates.k8s.io/v1beta1/clustertrustbundles': 'true',
    });
  }
});
