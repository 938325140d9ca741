import { KubespiffeError } from '../spiffe/errors.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { parseTrustDomain } from '../spiffe/trust-domain.ts';
import { bundleSourceOf, createBundleReader } from './bundle-reader.ts';
import { readFiles } from './files.ts';
import { follow, type Reading, type SourceOptions, watchFiles } from './follow.ts';
import { type BundleReading, type BundleSource, readBundles, type TrustBundles } from './trust-bundle.ts';

/**
 * Opens the bundles of several trust domains and follows their files: PEM roots, such as those of a `clusterTrustBundle`
 * source, or SPIFFE bundle documents, which also hold the keys that verify JWT-SVIDs. What a file holds counts for
 * the trust domain that it is named for, and for no other. An empty file has no bundle: kubelet writes one for a
 * `clusterTrustBundle` source with `optional: true` that selects nothing, so the trust ends with the ClusterTrustBundle.
 *
 * @param files names of files below the folder, or absolute ones, by trust domain. With several files for one trust
 *   domain, the last one with roots gives the roots, and the last one with JWT keys gives these.
 *
 * @example
 * ```js
 * import { openBundleSource } from 'kubespiffe/bundle-source';
 *
 * await using bundles = await openBundleSource('/run/spiffe', {
 *   'example.org': ['roots.pem', 'bundle.json'],
 *   'example.com': 'example.com.pem',
 * });
 * for (const [trustDomain, { roots }] of bundles.bundles) console.log(`${trustDomain}: ${roots.length} roots`);
 * ```
 *
 * @throws KubespiffeError BUNDLE_INVALID, where a file cannot be used from the start; SPIFFE_ID_INVALID for a name that
 *   is no trust domain.
 */
export async function openBundleSource(
  folder: string,
  files: Readonly<Record<string, string | readonly string[]>>,
  options: SourceOptions = {},
): Promise<BundleSource> {
  const parts = Object.entries(files).flatMap(([trustDomain, names]) => {
    const known = parseTrustDomain(trustDomain);
    if (!known.ok) throw new KubespiffeError('SPIFFE_ID_INVALID', known.reason);
    return [names].flat().map((name) => ({ trustDomain, name, place: `${name} in ${folder}` }));
  });
  const names = parts.map(({ name }) => name);
  const join = createBundleReader();

  const read = async (): Promise<Reading<TrustBundles>> => {
    const texts = await readFiles(folder, names);
    const joined = join(
      parts.map((part, index) => ({ ...part, text: texts[index] ?? missing, parse: readBundleFile })),
    );
    return { value: joined.isComplete ? joined.bundles : undefined, problems: joined.problems };
  };

  return bundleSourceOf(await follow(watchFiles(folder, names), read, options));
}

const missing = failure('it was not read');

function readBundleFile(text: string, trustDomain: string): Result<BundleReading> {
  return text === '' ? success({ bundles: new Map(), leftOut: [] }) : readBundles(text, trustDomain);
}
