// Builds the Kubernetes versions that are named, or says where they are: node scripts/kubernetes.ts 1.37.1 …
import { findBinaries } from '../test/cluster/binary.ts';
import { isKubernetesVersion, kubernetesReleases } from '../test/cluster/versions.ts';

for (const version of process.argv.slice(2)) {
  if (!isKubernetesVersion(version)) {
    throw new Error(`Kubernetes ${version} is not one of ${Object.keys(kubernetesReleases).join(', ')}`);
  }
  const binaries = await findBinaries(version, { complete: true });
  console.log(`Kubernetes ${version}: ${binaries.command('kubectl')?.[0]}`);
}
