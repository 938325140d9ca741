import { Option } from 'commander';
import { stringify } from 'yaml';
import {
  type BundleOrigin,
  readFederatedTrustDomain,
} from '../../signer/federation/federated-trust-domain.ts';
import { fetchBundle } from '../../signer/federation/fetch-bundle.ts';
import { readBootstrapBundle, readForeignBundle } from '../../signer/federation/foreign-bundle.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { printable, textOf } from '../../spiffe/pki/text.ts';
import { type AddCommand, addCommand, choice, required } from '../command.ts';
import { CliError, usageError } from '../errors.ts';
import { type AddressOptions, addressRuleOf, withAllowedAddresses } from '../federation/allowed-addresses.ts';
import { resourceFor } from '../federation/resource-for.ts';
import { fromNow } from '../output.ts';
import { readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends AddressOptions {
  trustDomain: string;
  name?: string;
  profile: 'https_web' | 'https_spiffe';
  webRoots?: string;
  endpointId?: string;
  endpointBundle?: string;
}

/** `kubespiffe federation check`: whether the signer would take the bundle of an endpoint, and the resource for it. */
export const federationCheck: AddCommand = (parent, terminal) =>
  addCommand(parent, 'check', {
    description:
      'Fetch a bundle as the signer does, with all of its rules, and print the FederatedTrustDomain for it.\n\n' +
      'Nothing is trusted and no cluster is asked. What was found is written to standard error. The resource on standard\n' +
      'output can be applied. The signer may reach the endpoint over another network than this machine.',
    examples: `
    # An endpoint with a Web PKI certificate
    kubespiffe federation check https://bundle.partner.example/bundle --trust-domain partner.example

    # An endpoint with an SVID, and then trust it
    kubespiffe federation check https://spire.example:8443 --trust-domain spire.example --profile https_spiffe \\
      --endpoint-id spiffe://spire.example/spire/server --endpoint-bundle spire.pem | kubectl apply -f -`,
    options: [
      required('--trust-domain <name>', 'Trust domain whose bundle it is.'),
      new Option('--name <name>', 'Name of the resource. Without it, the trust domain.'),
      choice(
        '--profile <profile>',
        'How the endpoint proves its identity.',
        ['https_web', 'https_spiffe'],
        'https_web',
      ),
      new Option('--web-roots <file>', 'https_web: PEM roots to trust instead of those of the system.'),
      new Option('--endpoint-id <id>', 'https_spiffe: SPIFFE ID of the endpoint.'),
      new Option(
        '--endpoint-bundle <file>',
        'https_spiffe: bundle of its trust domain (SPIFFE bundle or PEM).',
      ),
      withAllowedAddresses,
    ],
  })
    .argument('<url>', 'The URL of the endpoint.')
    .action((url: string, options: Options) => check(terminal, url, options));

async function check(terminal: Terminal, url: string, options: Options): Promise<void> {
  const { trustDomain } = options;
  const now = Math.floor(terminal.now() / 1000);
  const resource = await resourceOf(terminal, url, options);
  const { origin, refresh } = readFederatedTrustDomain(resource);
  if (!origin.ok) {
    throw usageError(origin.reason, 'correct the URL and the flags that these fields come from');
  }
  const { kind } = origin.value;
  if (kind !== 'https_web' && kind !== 'https_spiffe') throw new Error('there is an endpoint');
  const fetched = await fetchBundle(origin.value, {
    anchors: anchorsOf(origin.value, now),
    etag: undefined,
    addresses: addressRuleOf(options),
    signal: new AbortController().signal,
  });
  if (!fetched.ok) {
    const hint =
      'check the URL, --profile, and the roots that verify the endpoint; --allow-addresses permits addresses of this machine and its link';
    throw new CliError('BUNDLE_UNREACHABLE', fetched.reason, hint);
  }
  const bundle = readForeignBundle(fetched.value.document ?? '', trustDomain, now);
  if (!bundle.ok) {
    throw new CliError('BUNDLE_INVALID', bundle.reason, 'report this to the operator of the trust domain');
  }
  const { sequence, refreshHintSeconds, roots, jwtKeys, ignored } = bundle.value;
  const hint =
    refreshHintSeconds === undefined ? 'none, so it is fetched every 300 s' : `${refreshHintSeconds} s`;
  terminal.err(
    [
      `trust domain: ${trustDomain}`,
      `sequence: ${sequence ?? 'none'}`,
      `refresh hint: ${hint}; bounds of the resource: ${refresh.minSeconds} s to ${refresh.maxSeconds} s`,
      ...roots.map(({ sha256Hex, notAfter }) => `root: SHA-256 ${sha256Hex}, ends ${fromNow(notAfter, now)}`),
      ...[...jwtKeys.keys()].map((kid) => `JWT key: ${printable(kid)}`),
      ...ignored.map((each) => `left out: ${printable(each)}`),
      ...(roots.length + jwtKeys.size === 0
        ? ['warning: the bundle is empty, so nothing of it is accepted']
        : []),
      '',
    ].join('\n'),
  );
  terminal.out(stringify(resource, { lineWidth: 0 }));
}

/** The FederatedTrustDomain that the flags ask for. */
async function resourceOf(terminal: Terminal, url: string, options: Options) {
  const { trustDomain, name = trustDomain, profile, webRoots, endpointId, endpointBundle } = options;
  const read = async (file: string | undefined) =>
    file === undefined ? undefined : textOf(await readInput(terminal, file));
  const [caBundle, bootstrapBundle] = [await read(webRoots), await read(endpointBundle)];
  return resourceFor({ trustDomain, url, profile, endpointId, caBundle, bootstrapBundle }, name);
}

function anchorsOf(origin: BundleOrigin, now: number): readonly CertificateFacts[] {
  if (origin.kind !== 'https_spiffe') return [];
  const { trustDomain } = origin.endpointId;
  if (origin.bootstrapBundle === undefined) {
    throw usageError(`--endpoint-bundle is missing`, `give the bundle of ${trustDomain}`);
  }
  const roots = readBootstrapBundle(origin.bootstrapBundle, trustDomain, now);
  if (!roots.ok) throw new CliError('BUNDLE_INVALID', `--endpoint-bundle: ${roots.reason}`);
  return roots.value;
}
