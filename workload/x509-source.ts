import { KubespiffeError } from '../spiffe/errors.ts';
import { failure, type Result } from '../spiffe/pki/result.ts';
import { rfc3339, type Seconds } from '../spiffe/pki/time.ts';
import { readFiles } from './files.ts';
import { follow, type Reading, type SourceOptions } from './follow.ts';
import { keepLastGood } from './last-good.ts';
import { type BundleSource, readBundles } from './trust-bundle.ts';
import { isIssuedUnder, readX509Svid, type X509Svid } from './x509-svid.ts';

/** The identity of this workload and what verifies its peers, both always the newest good ones. */
export interface X509Source extends BundleSource {
  readonly svid: X509Svid;
}

export interface X509SourceOptions extends SourceOptions {
  /** File with private key and chain, PEM: what `credentialBundlePath` names. Default `credentials.pem`. */
  readonly credentials?: string;
  /** File with roots, PEM: the `path` of a `clusterTrustBundle` source. Default `roots.pem`. */
  readonly roots?: string;
  /** The trust domain of all roots in that file. Default: each root is of the one whose SPIFFE ID it carries. */
  readonly trustDomain?: string;
}

/** kubelet renews a certificate at half of its life. When less than this part is left, renewal does not work. */
const lateFraction = 0.25;

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
  const nowSeconds = () => Math.floor(now() / 1000);
  const svidOf = keepLastGood((text) => notExpired(readX509Svid(text), nowSeconds()));
  const rootsOf = keepLastGood((text) => readBundles(text, trustDomain));

  const read = async (last: Material | undefined): Promise<Reading<Material>> => {
    const [credentialsText = missing, rootsText = missing] = await readFiles(folder, [credentials, roots]);
    const { value: read, reason: svidReason } = svidOf(credentialsText);
    const { value: reading, reason: rootsReason } = rootsOf(rootsText);
    const isProven = (one: X509Svid) =>
      isIssuedUnder(one, reading?.bundles.get(one.id.trustDomain)?.roots ?? []);
    const unproven =
      read && reading?.bundles.has(read.id.trustDomain) && !isProven(read)
        ? `none of the roots in ${roots} has signed its chain`
        : undefined;
    const svid = unproven !== undefined && last && isProven(last.svid) ? last.svid : read;
    const without =
      svid && reading && !reading.bundles.has(svid.id.trustDomain)
        ? `it has no root of ${svid.id.trustDomain}, the trust domain of this workload`
        : undefined;
    const problems = [
      ...[svidReason, unproven, svid && lateReason(svid, nowSeconds())].map((reason) =>
        problemOf('SVID_INVALID', folder, credentials, reason),
      ),
      ...[rootsReason, without, ...(reading?.leftOut ?? [])].map((reason) =>
        problemOf('BUNDLE_INVALID', folder, roots, reason),
      ),
    ].filter((problem) => problem !== undefined);
    if (!svid || !reading) return { value: undefined, problems };
    const { bundles } = reading;
    const isSame = svid === last?.svid && bundles === last.bundles;
    return { value: isSame ? last : { svid, bundles }, problems };
  };

  const source = await follow([folder], read, options);
  return {
    get svid() {
      return source.value.svid;
    },
    get bundles() {
      return source.value.bundles;
    },
    events: source.events,
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}

type Material = Pick<X509Source, 'svid' | 'bundles'>;

const missing = failure('it was not read');

function problemOf(
  code: 'SVID_INVALID' | 'BUNDLE_INVALID',
  folder: string,
  name: string,
  reason: string | undefined,
): KubespiffeError | undefined {
  return reason === undefined ? undefined : new KubespiffeError(code, `${name} in ${folder}: ${reason}`);
}

function notExpired(svid: Result<X509Svid>, now: Seconds): Result<X509Svid> {
  if (!svid.ok || now < svid.value.notAfter) return svid;
  return failure(`its certificate expired at ${rfc3339(svid.value.notAfter)}`);
}

function lateReason({ notBefore, notAfter }: X509Svid, now: Seconds): string | undefined {
  if (now >= notAfter) return `the certificate in use expired at ${rfc3339(notAfter)} and was not renewed`;
  const isLate = notAfter - now < (notAfter - notBefore) * lateFraction;
  return isLate
    ? `the certificate in use expires at ${rfc3339(notAfter)} and was not renewed in time`
    : undefined;
}
