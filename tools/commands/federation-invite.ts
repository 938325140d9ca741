import { Option } from 'commander';
import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { readBootstrapBundle } from '../../signer/federation/foreign-bundle.ts';
import { endpointIdOf } from '../../spiffe/infrastructure.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand, choice, required } from '../command.ts';
import { CliError, usageError } from '../errors.ts';
import { type EndpointTrust, resourceFor } from '../federation/resource-for.ts';
import { spireInvitation } from '../federation/spire.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';
import { readClusterRoots } from '../pool/cluster-roots.ts';
import { readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, SettingsOptions, OutputOptions {
  url: string;
  for: 'kubespiffe' | 'spire';
  profile?: EndpointTrust['profile'];
  webRoots?: string;
  name?: string;
  trustDomain?: string;
  bundle?: string;
}

/** The path of the bundle at our endpoints. */
const bundlePath = '/bundle';

/** `kubespiffe federation invite`: what the other side has to configure, so that it trusts us. */
export const federationInvite: AddCommand = (parent, terminal) =>
  addCommand(parent, 'invite', {
    description:
      'Print what another trust domain must configure to fetch our bundle.\n\n' +
      'For kubespiffe it is a FederatedTrustDomain, for SPIRE a command and the same as configuration. Trust domain, profile\n' +
      'and roots are those of the signer in the cluster. Nothing printed is secret, but the recipient must know that it\n' +
      'comes from you.',
    examples: `
    # For a cluster with kubespiffe
    kubespiffe federation invite --url https://bundle.example.org/bundle

    # For SPIRE
    kubespiffe federation invite --url https://bundle.example.org/bundle --for spire

    # Without access to the cluster
    kubespiffe federation invite --url https://bundle.example.org:8443/bundle --trust-domain example.org \\
      --profile https_spiffe --bundle roots.pem`,
    options: [
      required('--url <url>', 'URL of our bundle endpoint, as the other side reaches it.'),
      choice('--for <software>', 'What the other side runs.', ['kubespiffe', 'spire'], 'kubespiffe'),
      choice(
        '--profile <profile>',
        'How the endpoint proves its identity. Without it, https_web if the signer has that endpoint.',
        ['https_web', 'https_spiffe'],
      ),
      new Option(
        '--web-roots <file>',
        'https_web: PEM roots of the certificate, if they are not public ones.',
      ),
      new Option('--name <name>', 'Name of the FederatedTrustDomain. Without it, the trust domain.'),
      new Option('--trust-domain <name>', 'Our trust domain. With it, the cluster is not asked.'),
      new Option(
        '--bundle <file>',
        'https_spiffe: our bundle (SPIFFE bundle or PEM) instead of the roots in the cluster.',
      ),
      withSignerSettings,
      withCluster,
      outputOption('Print the FederatedTrustDomain for programs.'),
    ],
  }).action(async (options: Options) => {
    const trust = await trustOf(terminal, options);
    const resource = resourceFor(trust, options.name ?? trust.trustDomain);
    const { origin } = readFederatedTrustDomain(resource);
    if (!origin.ok) throw usageError(origin.reason, 'correct the flags that these fields come from');
    if (new URL(trust.url).pathname !== bundlePath) {
      terminal.err(
        `warning: the signer serves its bundle at ${bundlePath}; make sure that ${trust.url} leads there\n`,
      );
    }
    if (options.for === 'kubespiffe') return printObject(terminal, options.output ?? 'yaml', resource);
    terminal.out(spireInvitation(trust));
  });

/** @throws CliError for flags that do not fit together. */
async function trustOf(terminal: Terminal, options: Options): Promise<EndpointTrust> {
  const { webRoots, bundle, output } = options;
  if (options.for === 'spire') {
    const flag = webRoots !== undefined ? '--web-roots' : output && '--output';
    if (flag !== undefined) {
      const hint =
        flag === '--output'
          ? 'leave it out: what SPIRE needs is a command and a section of its configuration'
          : 'SPIRE verifies https_web by the roots of its machine: have them installed there, or use https_spiffe';
      throw usageError(`${flag} is not for spire`, hint);
    }
  }
  const { trustDomain, profile, published } = await ownFacts(terminal, options);
  if (webRoots !== undefined && profile !== 'https_web') {
    throw usageError('--web-roots is for https_web', 'leave it out, or add --profile https_web');
  }
  if (bundle !== undefined && profile !== 'https_spiffe') {
    throw usageError('--bundle is for https_spiffe', 'leave it out, or add --profile https_spiffe');
  }
  const url = URL.canParse(options.url) ? new URL(options.url).href : options.url;
  if (profile === 'https_web') {
    const caBundle = webRoots === undefined ? undefined : textOf(await readInput(terminal, webRoots));
    return { trustDomain, url, profile, caBundle };
  }
  const bootstrapBundle = await ownBundle(terminal, options, trustDomain, published);
  return { trustDomain, url, profile, endpointId: endpointIdOf(trustDomain).uri, bootstrapBundle };
}

interface OwnFacts {
  readonly trustDomain: string;
  readonly profile: EndpointTrust['profile'];
  /** The roots in the cluster, where it was asked. */
  readonly published?: readonly CertificateFacts[];
}

async function ownFacts(terminal: Terminal, options: Options): Promise<OwnFacts> {
  const { profile } = options;
  if (options.trustDomain !== undefined) {
    const read = parseTrustDomain(options.trustDomain);
    if (!read.ok) throw new CliError('SPIFFE_ID_INVALID', read.reason);
    return { trustDomain: read.value, profile: profile ?? 'https_web' };
  }
  return withApi({ ...options, role: identityViewer }, terminal, async (api) => {
    const { config, from } = await readSignerSettings(api, terminal, options);
    const { trustDomain, endpoints, signers } = config;
    const served = [
      ...(endpoints?.bundleWeb ? (['https_web'] as const) : []),
      ...(endpoints?.bundleSpiffe ? (['https_spiffe'] as const) : []),
    ];
    const chosen = profile ?? served[0];
    if (chosen === undefined || !served.includes(chosen)) {
      const hint =
        'turn on bundleWebAddress or bundleSpiffeAddress: docs/reference/token-endpoint.md#bundle-endpoints';
      throw new CliError('CONFIG_INVALID', `${from} has no bundle endpoint ${chosen ?? ''}`.trimEnd(), hint);
    }
    const { roots } = await readClusterRoots(api, trustDomain, signers.spiffe.bundleSuffix);
    return { trustDomain, profile: chosen, published: roots };
  });
}

/** Our bundle as PEM: from the file that was given, or from the cluster. @throws CliError if there is none. */
async function ownBundle(
  terminal: Terminal,
  { bundle: file }: Options,
  trustDomain: string,
  published: OwnFacts['published'],
): Promise<string> {
  if (file !== undefined) {
    const now = Math.floor(terminal.now() / 1000);
    const roots = readBootstrapBundle(textOf(await readInput(terminal, file)), trustDomain, now);
    if (!roots.ok) throw new CliError('BUNDLE_INVALID', `${file}: ${roots.reason}`);
    return certificatesPem(roots.value);
  }
  if (!published) {
    const hint = '`kubespiffe bundle show --format pem` prints it';
    throw usageError('https_spiffe needs --bundle where the cluster is not asked', hint);
  }
  if (published.length > 0) return certificatesPem(published);
  const hint = 'give them with --bundle: `kubespiffe bundle show --format pem` prints them';
  throw new CliError('BUNDLE_INVALID', `no roots of ${trustDomain} are published in the cluster`, hint);
}
