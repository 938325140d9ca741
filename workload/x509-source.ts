import { failure } from '../spiffe/pki/result.ts';
import { bundleProblems } from './bundle-reader.ts';
import { readFiles } from './files.ts';
import { follow, type Reading, type SourceOptions, watchFiles } from './follow.ts';
import { keepLastGood } from './last-good.ts';
import { readBundles } from './trust-bundle.ts';
import { createX509Reader, type X509Material, type X509Source, x509SourceOf } from './x509-reader.ts';

export type { X509Source } from './x509-reader.ts';

export interface X509SourceOptions extends SourceOptions {
  /** File with private key and chain, PEM: what `credentialBundlePath` names. Default `credentials.pem`. */
  readonly credentials?: string;
  /** File with roots, PEM: the `path` of a `clusterTrustBundle` source, absolute where it is in another volume. Default `roots.pem`. */
  readonly roots?: string;
  /** The trust domain of all roots in that file. Default: each root is of the one whose SPIFFE ID it carries. */
  readonly trustDomain?: string;
}

/**
 * Opens the folder where kubelet mounts the pod's certificate and the roots, and follows it.
 *
 * @example
 * ```js
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * console.log(`this is ${source.svid.id.uri}`);
 * source.events.on('update', () => console.log(`valid until ${new Date(source.svid.notAfter * 1000)}`));
 * source.events.on('problem', (problem) => console.error(problem.message));
 * ```
 *
 * @throws KubespiffeError SVID_INVALID or BUNDLE_INVALID, where the files cannot be used from the start.
 */
export async function openX509Source(folder: string, options: X509SourceOptions = {}): Promise<X509Source> {
  const { credentials = 'credentials.pem', roots = 'roots.pem', trustDomain, now = Date.now } = options;
  const names = [credentials, roots];
  const rootsOf = keepLastGood((text) => readBundles(text, trustDomain));
  const readOwn = createX509Reader({
    credentials: `${credentials} in ${folder}`,
    roots: `${roots} in ${folder}`,
    now: () => Math.floor(now() / 1000),
  });

  const read = async (last: X509Material | undefined): Promise<Reading<X509Material>> => {
    const [credentialsText = missing, rootsText = missing] = await readFiles(folder, names);
    const found = rootsOf(rootsText);
    const problems = bundleProblems(found, `${roots} in ${folder}`);
    return readOwn(last, credentialsText, { bundles: found.value?.bundles, problems });
  };

  return x509SourceOf(await follow(watchFiles(folder, names), read, options));
}

const missing = failure('it was not read');
