import { type EndpointProfile, fetchFromEndpoint } from '../../client/bundle-endpoint.ts';
import { parseSpiffeBundle } from '../../spiffe/bundle.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { type BundleFormat, jwksOf } from '../bundle/formats.ts';
import { rootsFrom, warnOfIgnored } from '../bundle/inputs.ts';
import { type AddCommand, addCommand, choice, required } from '../command.ts';
import { endpointUrl } from '../endpoint-url.ts';
import { CliError, usageError } from '../errors.ts';
import type { Terminal } from '../terminal.ts';
import { formatOption } from './bundle-show.ts';

interface Options {
  trustDomain: string;
  profile: EndpointProfile['name'];
  webRoots?: string;
  endpointId?: string;
  endpointBundle?: string;
  redirects: boolean;
  format: BundleFormat;
}

const profiles = ['https_web', 'https_spiffe'] as const;
const timeoutMs = 15_000;
const maxRedirects = 5;

/** `kubespiffe bundle fetch`: a trust domain's bundle from its endpoint, over either profile. */
export const bundleFetch: AddCommand = (parent, terminal) =>
  addCommand(parent, 'fetch', {
    description:
      'Fetch the bundle of a trust domain from its endpoint, check it and print it.\n\n' +
      'With https_web the endpoint is verified like a web server, with https_spiffe by its X509-SVID. A bundle that readers\n' +
      'must refuse is not printed. There is a warning for each part that they must ignore.',
    examples: `
    # From an endpoint with a Web PKI certificate
    kubespiffe bundle fetch https://spiffe.example.org/bundle --trust-domain example.org

    # From an endpoint with an SVID, whose bundle is known from before
    kubespiffe bundle fetch https://bundle.example.org:8443/bundle --trust-domain example.org \\
      --profile https_spiffe --endpoint-id spiffe://example.org/kubespiffe/token-endpoint \\
      --endpoint-bundle known.json`,
    options: [
      required('--trust-domain <name>', 'Trust domain whose bundle it is.'),
      choice('--profile <profile>', 'How the endpoint proves its identity.', profiles, 'https_web'),
    ],
  })
    .argument('<url>', 'The URL of the endpoint.')
    .option('--web-roots <file>', 'https_web: PEM roots to trust instead of those of this machine.')
    .option('--endpoint-id <id>', 'https_spiffe: SPIFFE ID of the endpoint.')
    .option('--endpoint-bundle <file>', 'https_spiffe: bundle of its trust domain (SPIFFE bundle or PEM).')
    .option('--no-redirects', 'Do not follow redirects.')
    .addOption(
      formatOption('What to print: the SPIFFE bundle as it came, its JWT keys, or its roots as PEM.'),
    )
    .action(async (url: string, options: Options) => {
      const trustDomain = parseTrustDomain(options.trustDomain);
      if (!trustDomain.ok) throw new CliError('SPIFFE_ID_INVALID', trustDomain.reason);
      const fetched = await fetchFromEndpoint({
        url: endpointUrl(url, 'https://spiffe.example.org/bundle'),
        profile: await profileOf(terminal, options),
        maxRedirects: options.redirects ? maxRedirects : 0,
        timeoutMs,
        env: terminal.env,
      });
      if (!fetched.ok) {
        const hint =
          'check the URL, --profile, and the roots that verify the endpoint (--web-roots, --endpoint-id, --endpoint-bundle)';
        throw new CliError('BUNDLE_UNREACHABLE', fetched.reason, hint);
      }
      const text = fetched.value.toString('utf8');
      const bundle = parseSpiffeBundle(text);
      if (!bundle.ok)
        throw new CliError('BUNDLE_INVALID', bundle.reason, 'report this to the operator of the endpoint');
      warnOfIgnored(terminal, bundle.value);
      if (bundle.value.roots.length + bundle.value.jwtKeys.size === 0) {
        terminal.err(`warning: the bundle is empty: all of ${options.trustDomain} is revoked\n`);
      }
      const print = {
        spiffe: () => text,
        jwks: () => jwksOf(bundle.value),
        pem: () => certificatesPem(bundle.value.roots),
      };
      terminal.out(print[options.format]());
    });

async function profileOf(terminal: Terminal, options: Options): Promise<EndpointProfile> {
  const { profile, webRoots, endpointId, endpointBundle } = options;
  if (profile === 'https_web') {
    if (endpointId !== undefined || endpointBundle !== undefined) {
      const hint = 'add --profile https_spiffe, or leave them out';
      throw usageError('--endpoint-id and --endpoint-bundle are for https_spiffe', hint);
    }
    if (webRoots === undefined) return { name: profile };
    return { name: profile, rootsPem: await rootsFrom(terminal, webRoots) };
  }
  if (endpointId === undefined || endpointBundle === undefined || webRoots !== undefined) {
    const hint = 'give both, and no --web-roots';
    throw usageError('https_spiffe needs --endpoint-id and --endpoint-bundle', hint);
  }
  const id = parseSpiffeId(endpointId);
  if (!id.ok) throw new CliError('SPIFFE_ID_INVALID', id.reason, 'give the SPIFFE ID of the endpoint');
  return { name: profile, endpointId, rootsPem: await rootsFrom(terminal, endpointBundle) };
}
